// The request's body: looked at as it arrives, so that a body that nginx writes to a file is not read back.

#include "request_body.h"

#include "headers_in.h"

#include <algorithm>

namespace llm {

namespace {

ngx_http_request_body_filter_pt next_request_body_filter;

// 0 where the request says nothing; what is not clear is taken for the most.
uint32_t bound_of(const request_bound& bound)
{
    switch (bound.is) {
    case request_bound::state::absent:
        return 0;
    case request_bound::state::value:
        return static_cast<uint32_t>(std::min<uint64_t>(bound.value, token_estimator::max_completion));
    case request_bound::state::unbounded:
        break;
    }
    return token_estimator::max_completion;
}

void conclude(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.step = request_step::body_read;
    // A server that does not look at the type would read anything else as JSON.
    ctx.asked.unread_form = ctx.asked.unread_form && (ctx.facts.first() == '-' || ctx.facts.bytes() == 0);
    // nginx reads no body where there was none to read after all (Content-Length: 0, an empty chunked body).
    ctx.asked.has_body = ctx.asked.unread_form || ctx.facts.bytes() != 0;
    if (ctx.asked.unread_form || !ctx.asked.has_body) {
        return;
    }
    ctx.asked.fault = ctx.facts.finish();
    if (ctx.asked.fault != body_fault::none) {
        return;
    }
    ctx.asked.stream = ctx.call.streams || ctx.facts.may_stream()
                       || (ctx.facts.leaves_stream_open() && ctx.call.streams_unasked);
    ctx.asked.prompts = ctx.facts.prompts();
    const request_media& media = ctx.facts.media();
    ctx.asked.size = {ctx.facts.bytes() - media.bytes(), bound_of(ctx.facts.max_tokens(ctx.call.bounds)),
                      request_size::choices_of(ctx.facts.choices(), ctx.facts.prompts()), media.count()};
    if (!ctx.asked.names_model() && ctx.facts.has_model()) {
        ctx.asked.model = copy_text(r->pool, ctx.facts.model());
    }
}

void body_here(ngx_http_request_t* r)
{
    request_ctx* ctx = find_request(r);
    conclude(r, *ctx);
    // The reader has set it to a handler that does nothing, with which the request would hang.
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}

// Another module has read the body before there was a context to look on, for example in a location that this
// one was redirected from.
ngx_int_t scan_kept_body(ngx_http_request_t* r, request_ctx& ctx)
{
    constexpr size_t piece = 16384;
    u_char* memory = nullptr;

    for (ngx_chain_t* cl = r->request_body->bufs; cl; cl = cl->next) {
        ngx_buf_t* b = cl->buf;
        if (ngx_buf_in_memory(b)) {
            ctx.facts.feed({reinterpret_cast<char*>(b->pos), static_cast<size_t>(b->last - b->pos)});
            continue;
        }
        for (off_t at = b->file_pos; at < b->file_last;) {
            if (!memory) {
                memory = static_cast<u_char*>(ngx_pnalloc(r->pool, piece));
            }
            size_t size = static_cast<size_t>(ngx_min(b->file_last - at, static_cast<off_t>(piece)));
            ssize_t n = memory ? ngx_read_file(b->file, memory, size, at) : NGX_ERROR;
            if (n <= 0) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }
            ctx.facts.feed({reinterpret_cast<char*>(memory), static_cast<size_t>(n)});
            at += n;
        }
    }
    conclude(r, ctx);
    return NGX_OK;
}

bool has_no_body(ngx_http_request_t* r)
{
    return r->discard_body || (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked);
}

bool is_form(ngx_http_request_t* r)
{
    constexpr std::string_view form = "multipart/form-data";
    ngx_table_elt_t* type = r->headers_in.content_type;
    return type && same_without_case(view(type->value).substr(0, form.size()), form);
}

ngx_int_t request_body_filter(ngx_http_request_t* r, ngx_chain_t* in)
{
    request_ctx* ctx = find_request(r);
    if (ctx && ctx->step == request_step::reading_body) {
        for (ngx_chain_t* cl = in; cl; cl = cl->next) {
            ngx_buf_t* b = cl->buf;
            if (ngx_buf_in_memory(b)) {
                ctx->facts.feed({reinterpret_cast<char*>(b->pos), static_cast<size_t>(b->last - b->pos)});
            }
        }
    }
    return next_request_body_filter(r, in);
}

} // namespace

refusal check_coding(ngx_http_request_t* r)
{
    refusal why = refusal::none;
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (lowcase_name(header) == "content-encoding"
            && !same_without_case(view(header.value), "identity")) {
            why = refusal::unsupported_encoding;
        }
    });
    return why;
}

void name_model_by_path(request_ctx& ctx)
{
    ctx.asked.model = ctx.call.model.empty() ? ngx_str_t{0, nullptr} : to_ngx(ctx.call.model);
}

bool scan_body_ahead(ngx_http_request_t* r, request_ctx& ctx)
{
    if (r->request_body || has_no_body(r)) {
        if (r->request_body) {
            return false;
        }
        ctx.step = request_step::body_read;
        return true;
    }
    // In HTTP/2 other frames may follow the headers.
    bool is_http2 = r->http_version >= NGX_HTTP_VERSION_20;
    const ngx_buf_t* b = r->header_in;
    off_t size = r->headers_in.content_length_n;
    if (is_http2 || r->headers_in.chunked || b->last - b->pos < size) {
        return false;
    }
    ctx.asked.unread_form = is_form(r);
    ctx.facts.feed({reinterpret_cast<char*>(b->pos), static_cast<size_t>(size)});
    conclude(r, ctx);
    return true;
}

void forget_body(request_ctx& ctx)
{
    new (&ctx.facts) request_facts;
    ctx.step = request_step::keyed;
    ctx.asked = {};
    name_model_by_path(ctx);
}

ngx_int_t read_body(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.asked.unread_form = is_form(r);
    if (r->request_body) {
        return scan_kept_body(r, ctx);
    }
    if (has_no_body(r)) {
        ctx.step = request_step::body_read;
        return NGX_OK;
    }

    ctx.step = request_step::reading_body;
    ngx_int_t rc = ngx_http_read_client_request_body(r, body_here);
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ctx.step = request_step::keyed;
        return rc;
    }
    // The reader took a reference, and it answers the client itself where the rest of the body does not come:
    // the phases go on in body_here() only.
    ngx_http_finalize_request(r, NGX_DONE);
    return NGX_DONE;
}

void install_request_body_filter()
{
    next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = request_body_filter;
}

} // namespace llm
