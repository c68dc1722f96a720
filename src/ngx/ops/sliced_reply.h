// A reply that is too long to be made at once. It is made a slice at a time: a few slices in each turn of
// nginx's event loop, so that other requests do not wait for it, and no more of them until its client has
// taken most of those before, so that little of it is in memory.
#pragma once

#include "ngx/chain_writer.h"

namespace llm {

// What is made in slices goes on, is all there, or has failed for lack of memory.
enum class progress : uint8_t { more, done, failed };

// Lives in the request's pool.
class sliced_reply {
public:
    // Writes a slice.
    using writer = progress (*)(void* source);

    // nullptr if there is no memory.
    static sliced_reply* make(ngx_http_request_t* r);

    chain_writer& out() { return out_; }
    // Answers with 200 and all slices. What it returns is what the content handler has to return. `type` is
    // as in send_content(); a reply that is short has a length. `source` and `type` have to live as long as
    // the request.
    ngx_int_t send(std::string_view type, void* source, writer write);

private:
    // A struct whose first member is the event, so that one is found from the other: what the event itself
    // has as its data is taken for a connection by nginx's debug log.
    struct turn_event {
        ngx_event_t event;
        sliced_reply* reply;
    };

    explicit sliced_reply(ngx_http_request_t* r) : r_(r), out_(r->pool) {}

    static void on_turn(ngx_event_t* event);
    static void on_write(ngx_http_request_t* r);
    static void on_cleanup(void* reply);
    static sliced_reply* find(const ngx_http_request_t* r);

    bool wait_for_turns();
    void go_on();
    void make_slices();
    void end(ngx_int_t rc);
    void pass_on(ngx_chain_t* chain);
    void next_turn();
    void wait_for_client();
    void stop_waiting();
    // Else it is a subrequest whose turn to be sent has not come: the connection's timer is another's.
    bool has_connection() const { return r_->connection->data == r_; }
    void rest();
    size_t unsent() const;

    ngx_http_request_t* r_;
    chain_writer out_;
    std::string_view type_;
    void* source_ = nullptr;
    writer write_ = nullptr;
    progress is_ = progress::more; // what the last slice was
    bool announced_ = false;       // the header was sent
    ngx_chain_t* busy_ = nullptr;
    turn_event turn_{};
};

} // namespace llm
