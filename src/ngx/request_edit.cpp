// Edits of a request's body, laid over it where nginx keeps it: the whole of it in memory, or in a file.
//
// ngx_http_upstream_reinit() begins a retry with `pos = start` and `file_pos = 0` of the body's buffers. So
// none may begin later than its memory, and the file must not be cut up: see core/body_edit.h.

#include "request.h"

#include "core/usage_inject.h"

#include <algorithm>

namespace llm {

namespace {

constexpr auto spaces = [] {
    std::array<char, body_edit::max_blank> all{};
    all.fill(' ');
    return all;
}();

uint64_t bytes_of(const ngx_buf_t* b)
{
    return static_cast<uint64_t>(ngx_buf_size(b));
}

// False where another module keeps it in a way that leaves no room to write: nothing is edited then.
bool may_write(const request_ctx& ctx, const ngx_chain_t* body)
{
    uint64_t bytes = 0;
    for (const ngx_chain_t* cl = body; cl; cl = cl->next) {
        const ngx_buf_t* b = cl->buf;
        if (ngx_buf_in_memory(b) && (!b->temporary || b->in_file)) {
            return false;
        }
        bytes += bytes_of(b);
    }
    return bytes == ctx.facts.bytes();
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

// `at`: the offset of the buffer's first byte in the body.
bool blank_in(ngx_buf_t* b, uint64_t at, const body_edit& edit)
{
    for (const body_range& range : edit.blanks()) {
        uint64_t begin = std::max(range.begin, at);
        uint64_t end = std::min(range.end, at + bytes_of(b));
        if (begin < end && !write_at(b, begin - at, {spaces.data(), end - begin})) {
            return false;
        }
    }
    return true;
}

// Ends the body with the tail, in place of what the link has from `at` on and of the links after it. `memory`
// is a link with the tail, for a body in memory.
bool end_with_tail(ngx_chain_t* cl, uint64_t at, const body_edit& edit, ngx_chain_t* memory)
{
    ngx_buf_t* b = cl->buf;
    cl->next = nullptr;
    if (!ngx_buf_in_memory(b)) {
        b->file_last = b->file_pos + static_cast<off_t>(at + edit.tail().size());
        return write_at(b, at, edit.tail());
    }
    b->last = b->pos + at;
    b->last_buf = 0;
    if (at == 0) {
        cl->buf = memory->buf; // no buffer may be empty
    } else {
        cl->next = memory;
    }
    return true;
}

ngx_chain_t* copy_of(ngx_pool_t* pool, std::string_view text)
{
    ngx_chain_t* cl = ngx_alloc_chain_link(pool);
    ngx_buf_t* b = ngx_create_temp_buf(pool, text.size());
    if (!cl || !b) {
        return nullptr;
    }
    b->last = ngx_cpymem(b->pos, text.data(), text.size());
    b->last_buf = 1;
    *cl = {b, nullptr};
    return cl;
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
        if (name == "content_length" || name == "http_content_length" || name == "request_body") {
            r->variables[i].valid = 0;
        }
    }
}

bool apply(ngx_http_request_t* r, const body_edit& edit)
{
    auto* length = static_cast<u_char*>(ngx_pnalloc(r->pool, NGX_OFF_T_LEN));
    ngx_chain_t* tail = copy_of(r->pool, edit.tail());
    if (!length || !tail) {
        return false;
    }

    uint64_t at = 0;
    for (ngx_chain_t* cl = r->request_body->bufs; cl; cl = cl->next) {
        uint64_t end = at + bytes_of(cl->buf);
        if (!blank_in(cl->buf, at, edit)) {
            return false;
        }
        if (edit.keep() < end) {
            if (!end_with_tail(cl, edit.keep() - at, edit, tail)) {
                return false;
            }
            break;
        }
        at = end;
    }

    // What goes upstream takes the number, and variables and FastCGI the header.
    r->headers_in.content_length_n = static_cast<off_t>(edit.size());
    if (ngx_table_elt_t* header = r->headers_in.content_length) {
        header->value = {
            static_cast<size_t>(ngx_sprintf(length, "%O", r->headers_in.content_length_n) - length), length};
    }
    forget_variables(r);
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

bool ask_for_usage(ngx_http_request_t* r, request_ctx& ctx)
{
    auto mode = static_cast<usage_inject>(location_conf_of(r)->inject);
    if (mode == usage_inject::off || !ctx.stream || !takes_stream_options(view(r->uri))) {
        return true;
    }
    body_edit edit(ctx.facts.root_end());
    injected_usage asked = inject_usage(ctx.facts, mode, edit);
    if (!asked.any()) {
        return true;
    }
    if (!take_body(r)) {
        return false;
    }
    if (!may_write(ctx, r->request_body->bufs)) {
        return true;
    }
    ctx.strip = asked.to_strip;
    return apply(r, edit);
}

} // namespace llm
