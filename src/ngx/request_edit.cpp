// Edits of a request's body, laid over it where nginx keeps it: the whole of it in memory, or in a file.
//
// ngx_http_upstream_reinit() begins a retry with `pos = start` and `file_pos = 0` of the body's buffers. So
// none may begin later than its memory, and nothing of the file may be left out: see
// core/request/body_edit.h. What is put between two parts of it does not matter.

#include "request_edit.h"

#include "headers_in.h"

#include "core/base/number_text.h"
#include "core/request/usage_inject.h"

#include <algorithm>

namespace llm {

namespace {

constexpr auto spaces = [] {
    std::array<char, 4096> all{};
    all.fill(' ');
    return all;
}();

uint64_t bytes_of(const ngx_buf_t* b)
{
    return static_cast<uint64_t>(ngx_buf_size(b));
}

// False where another module has changed it, or keeps it where it must not be written.
bool may_write(uint64_t expected, const ngx_chain_t* body)
{
    uint64_t bytes = 0;
    for (const ngx_chain_t* cl = body; cl; cl = cl->next) {
        const ngx_buf_t* b = cl->buf;
        if (ngx_buf_in_memory(b) && (!b->temporary || b->in_file)) {
            return false;
        }
        bytes += bytes_of(b);
    }
    return bytes == expected;
}

bool tell_of_other_module(ngx_http_request_t* r)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "llm: another module keeps the request's body where it cannot be edited");
    return false;
}

bool write_at(ngx_buf_t* b, uint64_t at, std::string_view text)
{
    auto* bytes = reinterpret_cast<u_char*>(const_cast<char*>(text.data()));
    if (ngx_buf_in_memory(b)) {
        ngx_memcpy(b->pos + at, bytes, text.size());
        return true;
    }
    return ngx_write_file(b->file, bytes, text.size(), b->file_pos + static_cast<off_t>(at))
           == static_cast<ssize_t>(text.size());
}

// What an edit writes over bytes of this buffer: its text, and white space behind it. `at` is the offset of
// its first byte in the body.
bool write_over(ngx_buf_t* b, uint64_t at, const byte_edit& e)
{
    uint64_t begin = std::max(e.from.begin, at);
    const uint64_t end = std::min(e.from.end, at + bytes_of(b));
    while (begin < end) {
        const uint64_t done = std::min<uint64_t>(begin - e.from.begin, e.text.size());
        const std::string_view text =
            done < e.text.size() ? e.text.substr(done) : std::string_view(spaces.data(), spaces.size());
        const uint64_t n = std::min<uint64_t>(end - begin, text.size());
        if (!write_at(b, begin - at, text.substr(0, n))) {
            return false;
        }
        begin += n;
    }
    return true;
}

bool write_in_place(ngx_buf_t* b, uint64_t at, const body_edit& edit)
{
    const auto in_place = edit.in_place();
    return std::all_of(in_place.begin(), in_place.end(),
                       [&](const byte_edit& e) { return write_over(b, at, e); });
}

// Calls `to` with the text of all pieces of the tail, in order; those of the body are read where it lies.
// False if it cannot be read, or `to` says so.
template <class F>
bool each_text_of_tail(ngx_http_request_t* r, const body_edit& edit, F&& to)
{
    constexpr size_t room = 16384;
    char* memory = nullptr;

    auto copy = [&](const ngx_buf_t* b, uint64_t from, uint64_t size) {
        if (ngx_buf_in_memory(b)) {
            return to(std::string_view(reinterpret_cast<char*>(b->pos) + from, size));
        }
        if (!memory) {
            memory = static_cast<char*>(ngx_pnalloc(r->pool, room));
        }
        while (memory && size != 0) {
            ssize_t n = ngx_read_file(b->file, reinterpret_cast<u_char*>(memory),
                                      std::min<uint64_t>(size, room), b->file_pos + static_cast<off_t>(from));
            if (n <= 0 || !to(std::string_view(memory, static_cast<size_t>(n)))) {
                return false;
            }
            from += static_cast<uint64_t>(n);
            size -= static_cast<uint64_t>(n);
        }
        return memory != nullptr;
    };

    for (const byte_edit& piece : edit.tail()) {
        if (!piece.text.empty() && !to(piece.text)) {
            return false;
        }
        uint64_t at = 0;
        for (ngx_chain_t* cl = r->request_body->bufs; cl && at < piece.copied.end; cl = cl->next) {
            uint64_t begin = std::max(piece.copied.begin, at);
            uint64_t end = std::min(piece.copied.end, at + bytes_of(cl->buf));
            if (begin < end && !copy(cl->buf, begin - at, end - begin)) {
                return false;
            }
            at += bytes_of(cl->buf);
        }
    }
    return true;
}

// The tail as a link of its own, for a body in memory.
ngx_chain_t* tail_in_memory(ngx_http_request_t* r, const body_edit& edit)
{
    ngx_chain_t* cl = ngx_alloc_chain_link(r->pool);
    ngx_buf_t* b = ngx_create_temp_buf(r->pool, edit.tail_size());
    if (!cl || !b) {
        return nullptr;
    }
    *cl = {b, nullptr};
    b->last_buf = 1;
    bool whole = each_text_of_tail(r, edit, [b](std::string_view text) {
        b->last = ngx_cpymem(b->last, text.data(), text.size());
        return true;
    });
    return whole ? cl : nullptr;
}

// Writes it into the body's file, from `at` on: behind all that it is made of.
bool write_tail(ngx_http_request_t* r, ngx_buf_t* b, uint64_t at, const body_edit& edit)
{
    return each_text_of_tail(r, edit, [&](std::string_view text) {
        bool written = write_at(b, at, text);
        at += text.size();
        return written;
    });
}

// Ends the body with the tail, in place of what the link has from `at` on and of the links after it. `memory`
// is a link with the tail, for a body in memory.
void end_with_tail(ngx_chain_t* cl, uint64_t at, const body_edit& edit, ngx_chain_t* memory)
{
    ngx_buf_t* b = cl->buf;
    cl->next = nullptr;
    if (!memory) {
        b->file_last = b->file_pos + static_cast<off_t>(at + edit.tail_size());
        return;
    }
    b->last = b->pos + at;
    b->last_buf = 0;
    if (at == 0) {
        cl->buf = memory->buf; // no buffer may be empty
    } else {
        cl->next = memory;
    }
}

// A variable keeps the value that was asked for first, such as in a location that the request was redirected
// from. FastCGI would send a body of the old length.
void forget_variables(ngx_http_request_t* r)
{
    auto* cmcf =
        static_cast<ngx_http_core_main_conf_t*>(ngx_http_get_module_main_conf(r, ngx_http_core_module));
    auto* variables = static_cast<ngx_http_variable_t*>(cmcf->variables.elts);
    for (ngx_uint_t i = 0; i < cmcf->variables.nelts; i++) {
        if (!r->variables[i].valid) {
            continue;
        }
        std::string_view name = view(variables[i].name);
        if (name == "content_length" || name == "http_content_length" || name == "content_type"
            || name == "http_content_type" || name == "request_body") {
            r->variables[i].valid = 0;
        }
    }
}

// What goes upstream takes the number, and variables and FastCGI the header. False if there is no memory.
bool set_length(ngx_http_request_t* r, uint64_t bytes)
{
    auto* text = static_cast<u_char*>(ngx_pnalloc(r->pool, max_number));
    if (!text) {
        return false;
    }
    r->headers_in.content_length_n = static_cast<off_t>(bytes);
    if (ngx_table_elt_t* header = r->headers_in.content_length) {
        char* begin = reinterpret_cast<char*>(text);
        header->value = {static_cast<size_t>(put_number(begin, bytes) - begin), text};
    }
    forget_variables(r);
    return true;
}

// Of an edit that adds nothing: the body keeps its length.
bool apply_in_place(ngx_http_request_t* r, const body_edit& edit)
{
    uint64_t from = 0;
    for (ngx_chain_t* in = r->request_body->bufs; in; in = in->next) {
        if (!write_in_place(in->buf, from, edit)) {
            return false;
        }
        from += bytes_of(in->buf);
    }
    return true;
}

bool apply(ngx_http_request_t* r, const body_edit& edit)
{
    ngx_chain_t* cl = r->request_body->bufs;
    uint64_t at = 0; // of the link in which the kept part ends
    for (; cl && at + bytes_of(cl->buf) <= edit.keep(); cl = cl->next) {
        at += bytes_of(cl->buf);
    }
    if (!cl) {
        return false;
    }

    // What the tail repeats of the body is read before it goes.
    ngx_chain_t* memory = nullptr;
    if (ngx_buf_in_memory(cl->buf)) {
        memory = tail_in_memory(r, edit);
        if (!memory) {
            return false;
        }
    } else if (!write_tail(r, cl->buf, edit.keep() - at, edit)) {
        return false;
    }
    uint64_t from = 0;
    for (ngx_chain_t* in = r->request_body->bufs; from <= at; in = in->next) {
        if (!write_in_place(in->buf, from, edit)) {
            return false;
        }
        from += bytes_of(in->buf);
    }
    end_with_tail(cl, edit.keep() - at, edit, memory);
    return set_length(r, edit.size());
}

// A buffer of its own for the text, which lies as long as the request does.
ngx_chain_t* link_of(ngx_http_request_t* r, std::string_view text)
{
    ngx_chain_t* cl = ngx_alloc_chain_link(r->pool);
    auto* b = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    if (!cl || !b) {
        return nullptr;
    }
    b->start = b->pos = reinterpret_cast<u_char*>(const_cast<char*>(text.data()));
    b->end = b->last = b->pos + text.size();
    b->temporary = 1;
    *cl = {b, nullptr};
    return cl;
}

// Cuts a link in two. Both parts of a file are sent again as they are: the later one begins where the one
// before it ends.
bool split(ngx_http_request_t* r, ngx_chain_t* cl, uint64_t at)
{
    ngx_chain_t* rest = ngx_alloc_chain_link(r->pool);
    auto* b = rest ? static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool)) : nullptr;
    if (!b) {
        return false;
    }
    *b = *cl->buf;
    *rest = {b, cl->next};
    if (ngx_buf_in_memory(b)) {
        b->start = b->pos = b->pos + at;
        cl->buf->last = b->pos;
    } else {
        b->file_pos += static_cast<off_t>(at);
        cl->buf->file_last = b->file_pos;
    }
    cl->buf->last_buf = 0;
    cl->next = rest;
    return true;
}

// Puts text, which may be empty, behind the first `at` bytes of the body.
bool insert(ngx_http_request_t* r, uint64_t at, std::string_view text)
{
    if (text.empty()) {
        return true;
    }
    ngx_chain_t* cl = r->request_body->bufs;
    uint64_t before = 0;
    for (; cl && before + bytes_of(cl->buf) < at; cl = cl->next) {
        before += bytes_of(cl->buf);
    }
    ngx_chain_t* added = link_of(r, text);
    if (!cl || !added || (before + bytes_of(cl->buf) != at && !split(r, cl, at - before))) {
        return false;
    }
    added->next = cl->next;
    cl->next = added;
    if (!added->next) {
        added->buf->last_buf = cl->buf->last_buf;
        cl->buf->last_buf = 0;
    }
    return true;
}

// What is not longer than this is copied for an edit, which takes nginx less than to send it in three parts.
constexpr uint64_t longest_copy = 16384;

// A body that is all in this buffer, with text in place of some of its bytes.
bool copy_with(ngx_http_request_t* r, ngx_buf_t* b, byte_range at, std::string_view text)
{
    auto* to = static_cast<u_char*>(ngx_pnalloc(r->pool, bytes_of(b) - at.size() + text.size()));
    if (!to) {
        return false;
    }
    u_char* end = ngx_cpymem(to, b->pos, at.begin);
    end = ngx_cpymem(end, text.data(), text.size());
    end = ngx_cpymem(end, b->pos + at.end, bytes_of(b) - at.end);
    b->start = b->pos = to;
    b->end = b->last = end;
    return true;
}

void nothing_to_do(ngx_http_request_t*) {}

// A body that lies whole behind the header, and was looked at there, is made nginx's.
bool take_body(ngx_http_request_t* r)
{
    if (r->request_body) {
        return true;
    }
    if (ngx_http_read_client_request_body(r, nothing_to_do) != NGX_OK) {
        return false;
    }
    r->main->count--; // which the reader has taken for an answer that comes later
    return true;
}

} // namespace

namespace {

usage_inject inject_mode(ngx_http_request_t* r, const request_ctx& ctx)
{
    return ctx.asked.stream && ctx.call.takes_stream_options
               ? static_cast<usage_inject>(location_conf_of(r)->inject)
               : usage_inject::off;
}

} // namespace

std::string_view usage_fault(ngx_http_request_t* r, const request_ctx& ctx)
{
    return usage_fault(ctx.facts, inject_mode(r, ctx));
}

void send_as_json(ngx_http_request_t* r)
{
    bool changed = false;
    each_header_in(r, [&](ngx_table_elt_t& header) {
        if (lowcase_name(header) == "content-type" && !is_utf8_json(view(header.value))) {
            header.value = ngx_string("application/json");
            changed = true;
        }
    });
    if (changed) {
        forget_variables(r);
    }
}

bool edit_request(ngx_http_request_t* r, request_ctx& ctx, policy_edit* policy)
{
    const usage_inject mode = inject_mode(r, ctx);
    policy = policy && policy->any() ? policy : nullptr;
    if (mode == usage_inject::off && !policy) {
        return true;
    }
    const stream_options_member& options = ctx.facts.stream_options();
    const bool has_options = options.is != stream_options_member::state::absent;
    options_fate fate = options_fate::stay;
    if (policy && has_options) {
        fate = policy->drops(options.value_begin) ? options_fate::drop : options_fate::go;
    }
    body_edit edit(ctx.facts.root_end());
    const injected_usage asked = usage_to_inject(ctx.facts, mode, fate);
    if (policy) {
        const bool goes = fate == options_fate::go && asked.any();
        if (!policy->write(edit, goes ? options.value_begin : 0)) {
            return false;
        }
    } else if (!asked.any()) {
        return true;
    }
    inject_usage(ctx.facts, mode, edit, fate);
    if (!take_body(r)) {
        return false;
    }
    if (!may_write(ctx.facts.bytes(), r->request_body->bufs)) {
        return tell_of_other_module(r);
    }
    ctx.strip = asked.to_strip;
    const bool adds = edit.tail_size() > 1;
    ctx.edited = {.bytes = adds ? edit.size() : ctx.facts.bytes(),
                  .is_bare = policy && policy->leaves_none(),
                  .has_more = adds};
    return adds ? apply(r, edit) : apply_in_place(r, edit);
}

bool write_body(ngx_http_request_t* r, request_ctx& ctx, byte_range at, std::string_view text)
{
    const uint64_t now = ctx.edited.bytes != 0 ? ctx.edited.bytes : ctx.asked.place.body;
    if (!take_body(r)) {
        return false;
    }
    if (!may_write(now, r->request_body->bufs) || at.end > now) {
        return tell_of_other_module(r);
    }
    const std::string_view over = text.substr(0, at.size());
    const std::string_view more = text.substr(over.size());
    ngx_chain_t* body = r->request_body->bufs;
    if (!more.empty() && !body->next && ngx_buf_in_memory(body->buf) && now + more.size() <= longest_copy) {
        return copy_with(r, body->buf, at, text) && set_length(r, ctx.edited.bytes = now + more.size());
    }
    uint64_t from = 0;
    for (ngx_chain_t* cl = body; cl && from < at.end; cl = cl->next) {
        if (!write_over(cl->buf, from, {at, over})) {
            return false;
        }
        from += bytes_of(cl->buf);
    }
    if (more.empty()) {
        return true;
    }
    ctx.edited.bytes = now + more.size();
    return insert(r, at.end, more) && set_length(r, ctx.edited.bytes);
}

bool read_kept_body(ngx_http_request_t* r, byte_range at, char* to)
{
    if (!take_body(r)) {
        return false;
    }
    uint64_t from = 0;
    for (ngx_chain_t* cl = r->request_body->bufs; cl && from < at.end; cl = cl->next) {
        ngx_buf_t* b = cl->buf;
        const uint64_t begin = std::max(at.begin, from);
        const uint64_t end = std::min(at.end, from + bytes_of(b));
        if (begin < end && ngx_buf_in_memory(b)) {
            to = std::copy_n(reinterpret_cast<char*>(b->pos) + (begin - from), end - begin, to);
        } else if (begin < end) {
            const auto size = static_cast<size_t>(end - begin);
            if (ngx_read_file(b->file, reinterpret_cast<u_char*>(to), size,
                              b->file_pos + static_cast<off_t>(begin - from))
                != static_cast<ssize_t>(size)) {
                return false;
            }
            to += size;
        }
        from += bytes_of(b);
    }
    return from >= at.end;
}

} // namespace llm
