// A chain that goes out in place of one that came in.
#pragma once

#include "ngx.hpp"

namespace llm {

// Buffers of a request's own: what is left of one chain for the next. All zero bytes are a valid initial
// state.
struct own_buffers {
    ngx_chain_t* free = nullptr;
    ngx_chain_t* busy = nullptr; // not sent yet
};

// It is made of the links that came in, as far as they follow one another there, and of links and buffers of
// its own, which belong to the request's pool.
//
// The links that came in are their owner's, who goes through them again later, and a filter may not keep them
// (all of nginx's copy what they keep). So one of them at most is bent towards a link of this chain, and
// passed_on() puts it back.
class reply_chain {
public:
    reply_chain(ngx_pool_t* pool, own_buffers& buffers) : pool_(pool), buffers_(buffers) {}
    reply_chain(const reply_chain&) = delete;
    reply_chain& operator=(const reply_chain&) = delete;

    // The next two: false if there is no memory. The chain is not complete until finish().
    // Adds the links from `first` to `last`, which follow one another in the chain that came in.
    bool keep(ngx_chain_t* first, ngx_chain_t* last);
    // Adds a buffer. nginx takes none for bytes that has none: such a one is left out.
    bool add(ngx_buf_t* b);
    // An empty buffer of its own with this much room; nullptr if there is no memory. It has to be added.
    ngx_buf_t* buffer(size_t room);

    bool is_empty() const { return !first_; }
    ngx_chain_t* finish();
    // To be called when the chain has been passed on, or will not be: takes back what was sent. It is the end
    // of this chain.
    void passed_on();

private:
    bool is_open() const { return kept_ && !bent_; }
    void bend();
    void take_back(ngx_chain_t* link, const ngx_chain_t* stop);

    ngx_pool_t* pool_;
    own_buffers& buffers_;
    ngx_chain_t* first_ = nullptr;
    ngx_chain_t** last_ = &first_;
    ngx_chain_t* kept_ = nullptr;  // the first link that came in
    ngx_chain_t** bent_ = nullptr; // where the last one of them pointed elsewhere,
    ngx_chain_t* was_ = nullptr;   // which is here
};

} // namespace llm
