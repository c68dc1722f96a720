// A reply from which bytes are taken out on its way to the client.
#pragma once

#include "reply_chain.h"

#include "core/reply/usage.h"

namespace llm {

// What is kept of a reply's edit from one chain to the next. It stands in the request's context: with many
// paced streams each memory that a chunk needs is found cold. All zero bytes are a valid initial state.
struct reply_edit_state {
    u_char* held = nullptr; // memory of the request's pool
    uint32_t held_size = 0;
    uint32_t held_room = 0;
    own_buffers buffers;
    bool edits = false;
    bool unread = false; // what is held is the begin of an event that the reader has not been given

    void drop_held()
    {
        held_size = 0;
        unread = false;
    }
};

// The edit of one chain. What usage_reader has not decided on is held back in memory of its own, so that the
// buffer it came in is free for the upstream's next bytes.
class reply_edit {
public:
    // `reader` is fed by it.
    reply_edit(ngx_http_request_t* r, usage_reader& reader, reply_edit_state& state)
        : pool_(r->pool), reader_(reader), state_(state), upstream_tag_(r->upstream->output.tag),
          chain_(r->pool, state.buffers)
    {
    }

    // Feeds the reader with the chain and makes of it the one that goes out, which may be empty. Bytes are
    // moved within the chain's own buffers. `given_up`: it is the last chain, though without the reply's end.
    // False if there is no memory.
    bool run(ngx_chain_t* in, bool given_up, ngx_chain_t*& out);
    // The reply's end was in it.
    bool ended() const { return ended_; }
    // To be called when the chain has been passed on, or will not be: takes back what was sent. nginx goes
    // through the chain that came in once more.
    void passed_on() { chain_.passed_on(); }

private:
    struct piece;

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
    reply_edit_state& state_;
    ngx_buf_tag_t upstream_tag_;
    reply_chain chain_;
    bool ended_ = false;
};

} // namespace llm
