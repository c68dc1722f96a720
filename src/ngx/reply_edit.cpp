#include "reply_edit.h"

#include "reply_walk.h"

#include <algorithm>
#include <new>

namespace llm {

namespace {

constexpr size_t least_held = 512;

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
    bool flushes = false;
    reply_walk walk(reader_, in, upstream_tag_);
    for (ngx_chain_t* link = in; link;) {
        link = walk.next();
        if (walk.last_passed() && !chain_.keep(in, walk.last_passed())) {
            return false;
        }
        if (link) {
            in = link->next; // now, since the chain may bend it
            flushes = flushes || link->buf->flush;
            if (!take(link)) {
                return false;
            }
        }
    }
    // The reply's header may still wait for a flush.
    if (chain_.is_empty() && flushes && !add_flush()) {
        return false;
    }
    out = chain_.finish();
    return true;
}

// A buffer with these bytes that may be written to.
ngx_buf_t* reply_edit::writable(ngx_buf_t* b)
{
    if (is_writable(b, upstream_tag_)) {
        b->in_file = 0;
        return b;
    }
    ngx_buf_t* copy = chain_.buffer(static_cast<size_t>(b->last - b->pos));
    if (copy) {
        copy->last = ngx_cpymem(copy->pos, b->pos, b->last - b->pos);
        copy->flush = b->flush;
        b->pos = b->last;
    }
    return copy;
}

bool reply_edit::take(ngx_chain_t* link)
{
    const bool is_last = link->buf->last_buf;
    ended_ = ended_ || is_last;
    const bool has_bytes = !bytes_of(link->buf).empty();
    return (has_bytes ? edit(link) : is_last || chain_.add(link->buf))
           && (!is_last || end(link->buf, has_bytes));
}

// A buffer with bytes.
bool reply_edit::edit(ngx_chain_t* link)
{
    link->buf->last_buf = 0;
    ngx_buf_t* b = writable(link->buf);
    ngx_buf_t* before = nullptr;
    if (!b || (held_size_ != 0 && !(before = chain_.buffer(held_size_)))) {
        return false;
    }

    const uint64_t offset = reader_.offset();
    piece p = {.held = held_,
               .held_begin = offset - held_size_,
               .own_begin = offset,
               .own = b->pos,
               .at = offset - held_size_,
               .before = before ? before->last : nullptr,
               .write = b->pos};
    reader_.feed(bytes_of(b), {piece::cut, &p});
    p.keep(reader_.settled());

    // What is undecided: the end of what was held, and the end of the buffer.
    size_t still_held = p.at < p.own_begin ? p.own_begin - p.at : 0;
    if (still_held != 0) {
        ngx_memmove(held_, held_ + (held_size_ - still_held), still_held);
    }
    held_size_ = still_held;
    size_t undecided = reader_.offset() - std::max(p.at, p.own_begin);
    if (!hold(b->last - undecided, undecided)) {
        return false;
    }

    if (before) {
        before->last = p.before;
        before->flush = b->flush;
    }
    b->last = p.write;
    if (before && !chain_.add(before)) {
        return false;
    }
    const bool is_same = b == link->buf && b->last != b->pos;
    return is_same ? chain_.keep(link, link) : chain_.add(b);
}

// The reply's last buffer, whose bytes are taken: what is still held goes out before the end, or not at all.
bool reply_edit::end(ngx_buf_t* b, bool had_bytes)
{
    ngx_buf_t* rest = nullptr;
    if (held_size_ != 0 && !(rest = chain_.buffer(held_size_))) {
        return false;
    }
    const uint64_t offset = reader_.offset();
    piece p = {.held = held_,
               .held_begin = offset - held_size_,
               .own_begin = offset,
               .own = nullptr,
               .at = offset - held_size_,
               .before = rest ? rest->last : nullptr,
               .write = nullptr};
    reader_.finish({piece::cut, &p});
    p.keep(offset);
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
    return (!rest || chain_.add(rest)) && chain_.add(b);
}

bool reply_edit::hold(const u_char* from, size_t size)
{
    if (size == 0) {
        return true;
    }
    if (held_size_ + size > held_room_) {
        size_t room = std::max(held_room_, least_held);
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

// A buffer without bytes, which pushes out what is there.
bool reply_edit::add_flush()
{
    ngx_buf_t* b = chain_.buffer(0);
    if (!b) {
        return false;
    }
    b->temporary = 0;
    b->flush = 1;
    return chain_.add(b);
}

} // namespace llm
