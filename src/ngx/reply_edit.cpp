#include "reply_edit.h"

#include <algorithm>
#include <new>

namespace llm {

namespace {

constexpr size_t least_room = 512;

ngx_buf_tag_t tag()
{
    return reinterpret_cast<ngx_buf_tag_t>(&ngx_http_llm_module);
}

} // namespace

// One buffer's bytes, with those that are held from before it. What stays of them is moved together: of the
// held ones into `before`, of the buffer's own to its begin.
struct reply_edit::piece {
    const u_char* held;
    uint64_t held_begin; // offsets in the stream
    uint64_t own_begin;
    const u_char* own;
    uint64_t at;    // up to here it is decided
    u_char* before; // room for all that is held
    u_char* write;  // in the buffer

    static void cut(void* self, uint64_t begin, uint64_t end)
    {
        auto& p = *static_cast<piece*>(self);
        p.keep(begin);
        p.at = end;
    }

    void keep(uint64_t end)
    {
        if (at < own_begin && at < end) {
            uint64_t stop = std::min(end, own_begin);
            before = ngx_cpymem(before, held + (at - held_begin), stop - at);
            at = stop;
        }
        if (at < end) {
            const u_char* from = own + (at - own_begin);
            if (from != write) {
                ngx_memmove(write, from, end - at);
            }
            write += end - at;
            at = end;
        }
    }
};

reply_edit* reply_edit::make(ngx_http_request_t* r, usage_reader& reader)
{
    void* memory = ngx_palloc(r->pool, sizeof(reply_edit));
    return memory ? new (memory) reply_edit(r, reader) : nullptr;
}

bool reply_edit::run(ngx_chain_t* in, ngx_chain_t*& out)
{
    out = nullptr;
    last_ = &out;
    bool flushes = false;
    for (ngx_chain_t* cl = in; cl; cl = cl->next) {
        ngx_buf_t* b = cl->buf;
        bool is_last = b->last_buf;
        bool has_bytes = ngx_buf_in_memory(b) && b->last > b->pos;
        if (has_bytes && !take(b)) {
            return false;
        }
        if (is_last ? !end(b, has_bytes) : !has_bytes && !link(b)) {
            return false;
        }
        flushes = flushes || b->flush;
    }
    // The reply's header may still wait for that.
    return out || !flushes || link_flush();
}

// A buffer with these bytes that may be written to.
ngx_buf_t* reply_edit::writable(ngx_buf_t* b)
{
    // Where the reply is not buffered, the upstream's read buffer is handed on in parts, which say that they
    // are not to be written to; but nobody else reads them.
    if (b->temporary || b->tag == upstream_tag_) {
        b->in_file = 0;
        return b;
    }
    ngx_buf_t* copy = buffer(static_cast<size_t>(b->last - b->pos));
    if (copy) {
        copy->last = ngx_cpymem(copy->pos, b->pos, b->last - b->pos);
        copy->flush = b->flush;
        b->pos = b->last;
    }
    return copy;
}

bool reply_edit::take(ngx_buf_t* b)
{
    b->last_buf = 0;
    b = writable(b);
    ngx_buf_t* before = nullptr;
    if (!b || (held_size_ != 0 && !(before = buffer(held_size_)))) {
        return false;
    }

    size_t size = static_cast<size_t>(b->last - b->pos);
    piece p = {.held = held_,
               .held_begin = offset_ - held_size_,
               .own_begin = offset_,
               .own = b->pos,
               .at = offset_ - held_size_,
               .before = before ? before->last : nullptr,
               .write = b->pos};
    offset_ += size;
    reader_.feed({reinterpret_cast<char*>(b->pos), size}, {piece::cut, &p});
    p.keep(reader_.settled());

    // What is undecided: the end of what was held, and the end of the buffer.
    size_t still_held = p.at < p.own_begin ? p.own_begin - p.at : 0;
    if (still_held != 0) {
        ngx_memmove(held_, held_ + (held_size_ - still_held), still_held);
    }
    held_size_ = still_held;
    size_t undecided = offset_ - std::max(p.at, p.own_begin);
    if (!hold(b->last - undecided, undecided)) {
        return false;
    }

    if (before) {
        before->last = p.before;
        before->flush = b->flush;
    }
    b->last = p.write;
    return (!before || link(before)) && link(b);
}

// The reply's last buffer, whose bytes are taken: what is still held goes out before the end, or not at all.
bool reply_edit::end(ngx_buf_t* b, bool had_bytes)
{
    ngx_buf_t* rest = nullptr;
    if (held_size_ != 0 && !(rest = buffer(held_size_))) {
        return false;
    }
    piece p = {.held = held_,
               .held_begin = offset_ - held_size_,
               .own_begin = offset_,
               .own = nullptr,
               .at = offset_ - held_size_,
               .before = rest ? rest->last : nullptr,
               .write = nullptr};
    reader_.finish({piece::cut, &p});
    p.keep(offset_);
    held_size_ = 0;
    if (rest) {
        rest->last = p.before;
    }
    if (had_bytes) {
        // It may have been sent already, or be empty now.
        uint8_t last_in_chain = b->last_in_chain;
        b = static_cast<ngx_buf_t*>(ngx_calloc_buf(pool_));
        if (!b) {
            return false;
        }
        b->last_in_chain = last_in_chain;
        b->last_buf = 1;
    }
    return (!rest || link(rest)) && link(b);
}

bool reply_edit::hold(const u_char* from, size_t size)
{
    if (size == 0) {
        return true;
    }
    if (held_size_ + size > held_room_) {
        size_t room = std::max(held_room_, least_room);
        while (room < held_size_ + size) {
            room *= 2;
        }
        auto* memory = static_cast<u_char*>(ngx_palloc(pool_, room));
        if (!memory) {
            return false;
        }
        if (held_size_ != 0) {
            ngx_memcpy(memory, held_, held_size_);
        }
        held_ = memory;
        held_room_ = room;
    }
    ngx_memcpy(held_ + held_size_, from, size);
    held_size_ += size;
    return true;
}

// An empty buffer of its own with this much room.
ngx_buf_t* reply_edit::buffer(size_t size)
{
    ngx_chain_t* cl = ngx_chain_get_free_buf(pool_, &free_);
    if (!cl) {
        return nullptr;
    }
    ngx_buf_t* b = cl->buf;
    ngx_free_chain(pool_, cl);
    u_char* memory = b->start;
    if (static_cast<size_t>(b->end - b->start) < size) {
        size = std::max(size, least_room);
        memory = static_cast<u_char*>(ngx_palloc(pool_, size));
        if (!memory) {
            return nullptr;
        }
        b->end = memory + size;
    }
    u_char* end = b->end;
    ngx_memzero(b, sizeof(ngx_buf_t));
    b->start = b->pos = b->last = memory;
    b->end = end;
    b->temporary = 1;
    b->tag = tag();
    return b;
}

// nginx takes no buffer for bytes that has none.
bool reply_edit::link(ngx_buf_t* b)
{
    bool empty = ngx_buf_in_memory(b) && b->last == b->pos;
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
        cl->next = free_;
        free_ = cl;
        return true;
    }
    *last_ = cl;
    last_ = &cl->next;
    return true;
}

// A buffer without bytes, which pushes out what is there.
bool reply_edit::link_flush()
{
    ngx_buf_t* b = buffer(0);
    if (!b) {
        return false;
    }
    b->temporary = 0;
    b->flush = 1;
    return link(b);
}

void reply_edit::passed_on(ngx_chain_t* out)
{
    while (out) {
        ngx_chain_t* cl = out;
        out = cl->next;
        if (cl->buf->tag != tag()) {
            ngx_free_chain(pool_, cl);
        } else {
            cl->next = busy_;
            busy_ = cl;
        }
    }
    for (ngx_chain_t** at = &busy_; *at;) {
        ngx_chain_t* cl = *at;
        if (ngx_buf_size(cl->buf) != 0) {
            at = &cl->next;
            continue;
        }
        *at = cl->next;
        cl->next = free_;
        free_ = cl;
    }
}

} // namespace llm
