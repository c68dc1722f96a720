#include "reply_chain.h"

#include <algorithm>

namespace llm {

namespace {

constexpr size_t least_room = 512;

ngx_buf_tag_t tag()
{
    return reinterpret_cast<ngx_buf_tag_t>(&ngx_http_llm_module);
}

} // namespace

bool reply_chain::keep(ngx_chain_t* first, ngx_chain_t* last)
{
    const bool follows = is_open() ? *last_ == first : !kept_;
    if (!follows) {
        for (;; first = first->next) {
            if (!add(first->buf)) {
                return false;
            }
            if (first == last) {
                return true;
            }
        }
    }
    if (!kept_) {
        kept_ = first;
        *last_ = first;
    }
    last_ = &last->next;
    return true;
}

bool reply_chain::add(ngx_buf_t* b)
{
    const bool empty = ngx_buf_in_memory(b) && b->last == b->pos;
    if (empty && b->tag != tag()) {
        return true;
    }
    ngx_chain_t* cl = ngx_alloc_chain_link(pool_);
    if (!cl) {
        return false;
    }
    cl->buf = b;
    cl->next = nullptr;
    if (empty) {
        cl->next = buffers_.free;
        buffers_.free = cl;
        return true;
    }
    bend();
    *last_ = cl;
    last_ = &cl->next;
    return true;
}

ngx_buf_t* reply_chain::buffer(size_t room)
{
    ngx_chain_t* cl = ngx_chain_get_free_buf(pool_, &buffers_.free);
    if (!cl) {
        return nullptr;
    }
    ngx_buf_t* b = cl->buf;
    ngx_free_chain(pool_, cl);
    u_char* memory = b->start;
    if (static_cast<size_t>(b->end - b->start) < room) {
        room = std::max(room, least_room);
        memory = static_cast<u_char*>(ngx_palloc(pool_, room));
        if (!memory) {
            return nullptr;
        }
        b->end = memory + room;
    }
    u_char* end = b->end;
    ngx_memzero(b, sizeof(ngx_buf_t));
    b->start = b->pos = b->last = memory;
    b->end = end;
    b->temporary = 1;
    b->tag = tag();
    return b;
}

// What follows the last link that came in is of this chain, or nothing.
void reply_chain::bend()
{
    if (is_open()) {
        bent_ = last_;
        was_ = *last_;
        *last_ = nullptr;
    }
}

ngx_chain_t* reply_chain::finish()
{
    bend();
    return first_;
}

// Own links. Those of own buffers are kept.
void reply_chain::take_back(ngx_chain_t* link, const ngx_chain_t* stop)
{
    while (link != stop) {
        ngx_chain_t* next = link->next;
        if (link->buf->tag != tag()) {
            ngx_free_chain(pool_, link);
        } else {
            link->next = buffers_.busy;
            buffers_.busy = link;
        }
        link = next;
    }
}

void reply_chain::passed_on()
{
    take_back(first_, kept_);
    if (bent_) {
        take_back(*bent_, nullptr);
        *bent_ = was_;
    }
    for (ngx_chain_t** at = &buffers_.busy; *at;) {
        ngx_chain_t* cl = *at;
        if (ngx_buf_size(cl->buf) != 0) {
            at = &cl->next;
            continue;
        }
        *at = cl->next;
        cl->next = buffers_.free;
        buffers_.free = cl;
    }
}

} // namespace llm
