#include "reply_edit.h"

#include "reply_walk.h"

#include "core/base/bytes.h"
#include "core/json/json_bytes.h"

#include <algorithm>

namespace llm {

namespace {

constexpr size_t least_held = 512;

// An event of which a part only has come is not read before the rest has: it is faster read as a whole, and
// no client can do anything with a part. Up to this many bytes, in one line.
constexpr size_t max_unread = 2048;

// How many bytes at the end of `bytes`, which begin at a border of events, are part of the first line of an
// event; 0 if they end with more of it, or with a whole one.
size_t begun_line(std::string_view bytes)
{
    const char* const end = bytes.data() + bytes.size();
    const auto* const lf = static_cast<const char*>(memrchr(bytes.data(), '\n', bytes.size()));
    const char* const begin = lf != nullptr ? lf + 1 : bytes.data();
    const auto size = static_cast<size_t>(end - begin);
    const bool is_first = lf == nullptr || (lf != bytes.data() && lf[-1] == '\n');
    return is_first && size <= max_unread && find_line_end(begin, end) == end ? size : 0;
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

    static void erase(void* self, uint64_t begin, uint64_t end)
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

bool reply_edit::run(ngx_chain_t* in, bool given_up, ngx_chain_t*& out)
{
    bool flushes = false;
    // What is undecided then is nobody's: it may be what was asked for.
    if (given_up) {
        reader_.release_events();
        if (state_.held_size != 0 && !read_held(false)) {
            return false;
        }
    }
    reply_walk walk(reader_, in, upstream_tag_);
    for (ngx_chain_t* link = in; link;) {
        link = walk.next(!state_.unread);
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
    ngx_buf_t* b = link->buf;
    const bool is_last = b->last_buf;
    const bool has_bytes = !bytes_of(b).empty();
    ended_ = ended_ || is_last;
    if (has_bytes) {
        b->last_buf = 0;
        if ((state_.unread && !join(b)) || (!bytes_of(b).empty() && !edit(link))) {
            return false;
        }
    } else if (!is_last && !chain_.add(b)) {
        return false;
    }
    return !is_last || end(b, has_bytes);
}

// Takes bytes from the front of the buffer for the event whose begin is held unread.
bool reply_edit::join(ngx_buf_t* b)
{
    const std::string_view bytes = bytes_of(b);
    const char* const bytes_end = bytes.data() + bytes.size();
    const auto line = static_cast<size_t>(find_line_end(bytes.data(), bytes_end) - bytes.data());
    const bool is_whole = bytes.substr(line).starts_with("\n\n");
    const size_t size = is_whole ? line + 2 : bytes.size();
    if (state_.held_size + size > max_unread || (line != bytes.size() && !is_whole)) {
        return read_held(false);
    }
    if (!is_whole) {
        b->pos += size;
        return hold(b->pos - size, size);
    }

    ngx_buf_t* whole = chain_.buffer(state_.held_size + size);
    if (!whole) {
        return false;
    }
    whole->last = ngx_cpymem(whole->pos, state_.held, state_.held_size);
    whole->last = ngx_cpymem(whole->last, b->pos, size);
    whole->flush = b->flush;
    b->pos += size;
    state_.held_size = 0;
    state_.unread = false;
    const std::string_view event = bytes_of(whole);
    reply_piece piece = {event.data(), event.size(), 0, 0};
    if (reader_.pass({&piece, 1}) == 0) {
        return edit_own(whole) && chain_.add(whole);
    }
    erase(whole, piece);
    return chain_.add(whole);
}

// A buffer with bytes.
bool reply_edit::edit(ngx_chain_t* link)
{
    ngx_buf_t* b = writable(link->buf);
    if (!b) {
        return false;
    }
    const u_char* end = b->last;
    const size_t unread = state_.held_size == 0 && reader_.may_pass() ? begun_line(bytes_of(b)) : 0;
    b->last -= unread;
    if ((b->last != b->pos && !edit_own(b)) || !hold(end - unread, unread)) {
        return false;
    }
    state_.unread = unread != 0;
    const bool is_same = b == link->buf && b->last != b->pos;
    return is_same ? chain_.keep(link, link) : chain_.add(b);
}

// A buffer with bytes that may be written to: what goes out of what is held is added to the chain, what goes
// out of its own bytes stays in it.
bool reply_edit::edit_own(ngx_buf_t* b)
{
    ngx_buf_t* before = nullptr;
    if (state_.held_size != 0 && !(before = chain_.buffer(state_.held_size))) {
        return false;
    }
    const uint64_t offset = reader_.offset();
    piece p = {.held = state_.held,
               .held_begin = offset - state_.held_size,
               .own_begin = offset,
               .own = b->pos,
               .at = offset - state_.held_size,
               .before = before ? before->last : nullptr,
               .write = b->pos};
    reader_.feed(bytes_of(b), {piece::erase, &p});
    p.keep(reader_.settled());

    // What is undecided: the end of what was held, and the end of the buffer.
    keep_held(p.at < p.own_begin ? p.own_begin - p.at : 0);
    size_t undecided = reader_.offset() - std::max(p.at, p.own_begin);
    if (!hold(b->last - undecided, undecided)) {
        return false;
    }
    b->last = p.write;
    if (before) {
        before->last = p.before;
        before->flush = b->flush;
    }
    return !before || chain_.add(before);
}

// What is held goes out as far as it is decided, or all of it where the reply ends. If it was unread, it is
// not any more.
bool reply_edit::read_held(bool ends)
{
    ngx_buf_t* b = nullptr;
    if (state_.held_size != 0 && !(b = chain_.buffer(state_.held_size))) {
        return false;
    }
    const std::string_view unread(reinterpret_cast<char*>(state_.held), state_.unread ? state_.held_size : 0);
    const uint64_t end = reader_.offset() + unread.size();
    piece p = {.held = state_.held,
               .held_begin = end - state_.held_size,
               .own_begin = end,
               .own = nullptr,
               .at = end - state_.held_size,
               .before = b ? b->last : nullptr,
               .write = nullptr};
    if (state_.unread) {
        state_.unread = false;
        reader_.feed(unread, {piece::erase, &p});
    }
    if (ends) {
        reader_.finish({piece::erase, &p});
    }
    p.keep(ends ? end : reader_.settled());
    keep_held(end - p.at);
    if (b) {
        b->last = p.before;
    }
    return !b || chain_.add(b);
}

// The reply's last buffer, whose bytes are taken: what is still held goes out before the end, or not at all.
bool reply_edit::end(ngx_buf_t* b, bool had_bytes)
{
    if (!read_held(true)) {
        return false;
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
    return chain_.add(b);
}

// Of what is held this much, at its end.
void reply_edit::keep_held(size_t size)
{
    if (size != 0) {
        ngx_memmove(state_.held, state_.held + (state_.held_size - size), size);
    }
    state_.held_size = static_cast<uint32_t>(size);
}

bool reply_edit::hold(const u_char* from, size_t size)
{
    if (size == 0) {
        return true;
    }
    if (state_.held_size + size > state_.held_room) {
        size_t room = std::max<size_t>(state_.held_room, least_held);
        while (room < state_.held_size + size) {
            room *= 2;
        }
        auto* memory = static_cast<u_char*>(ngx_palloc(pool_, room));
        if (!memory) {
            return false;
        }
        if (state_.held_size != 0) {
            ngx_memcpy(memory, state_.held, state_.held_size);
        }
        state_.held = memory;
        state_.held_room = static_cast<uint32_t>(room);
    }
    ngx_memcpy(state_.held + state_.held_size, from, size);
    state_.held_size += static_cast<uint32_t>(size);
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
