// A reply from which bytes are taken out on its way to the client.
#pragma once

#include "reply_chain.h"

#include "core/usage.h"

namespace llm {

// Belongs to the request's pool. What usage_reader has not decided on is held back in memory of its own, so
// that the buffer it came in is free for the upstream's next bytes.
class reply_edit {
public:
    // nullptr if there is no memory. `reader` is fed by it, and outlives it.
    static reply_edit* make(ngx_http_request_t* r, usage_reader& reader);

    // Feeds the reader with a chain and makes of it the one that goes out, which may be empty. Bytes are
    // moved within the chain's own buffers. False if there is no memory.
    bool run(ngx_chain_t* in, ngx_chain_t*& out);
    // The reply's end was in it.
    bool ended() const { return ended_; }
    // To be called when the chain has been passed on: takes back what was sent.
    void passed_on() { chain_.passed_on(); }

private:
    struct piece;

    reply_edit(ngx_http_request_t* r, usage_reader& reader)
        : pool_(r->pool), reader_(reader), upstream_tag_(r->upstream->output.tag), chain_(r->pool)
    {
    }

    bool take(ngx_chain_t* link);
    bool join(ngx_buf_t* b);
    bool edit(ngx_chain_t* link);
    bool edit_own(ngx_buf_t* b);
    bool read_held(bool ends);
    bool end(ngx_buf_t* b, bool had_bytes);
    ngx_buf_t* writable(ngx_buf_t* b);
    bool hold(const u_char* from, size_t size);
    void keep_held(size_t size);
    bool add_flush();

    ngx_pool_t* pool_;
    usage_reader& reader_;
    ngx_buf_tag_t upstream_tag_;
    reply_chain chain_;
    u_char* held_ = nullptr;
    size_t held_size_ = 0;
    size_t held_room_ = 0;
    bool unread_ = false; // what is held is the begin of an event that the reader has not been given
    bool ended_ = false;
};

} // namespace llm
