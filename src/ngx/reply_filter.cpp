// The reply's way out: its usage is read from the bytes as they pass. They are passed on as they are.

#include "headers_in.h"
#include "limit_headers.h"
#include "request.h"

namespace llm {

namespace {

ngx_http_output_header_filter_pt next_header_filter;
ngx_http_output_body_filter_pt next_body_filter;

// The request whose lease is held and whose reply this is.
request_ctx* held_request(ngx_http_request_t* r)
{
    if (r != r->main) {
        return nullptr;
    }
    request_ctx* ctx = find_request(r);
    return ctx && ctx->held ? ctx : nullptr;
}

// Only the upstream's own success has usage: an error page, a refusal or a file of nginx's passes here too.
// After an internal redirect or a retry it is the last reply that counts.
void start_reading(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.reading_reply = false;
    if (!r->upstream || r->upstream->headers_in.status_n != NGX_HTTP_OK
        || r->headers_out.status != NGX_HTTP_OK) {
        return;
    }
    reply_form form = reply_form_of(view(r->headers_out.content_type));
    if (form == reply_form::none) {
        return;
    }
    ngx_table_elt_t* coding = r->headers_out.content_encoding;
    if (coding && coding->value.len && !same_without_case(view(coding->value), "identity")) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm: the upstream's reply is coded as \"%V\", its usage can not be read: clear "
                      "Accept-Encoding towards the upstream",
                      &coding->value);
        return;
    }
    new (&ctx.usage) usage_reader;
    ctx.usage.start(form, ctx.prompts);
    ctx.reading_reply = true;
    // A reply that nginx has put into a file or a cache has to be brought back.
    r->filter_need_in_memory = 1;
}

void note_first_content(ngx_http_request_t* r, request_ctx& ctx)
{
    if (ctx.first_content_ms < 0 && ctx.usage.content_seen()) {
        ctx.first_content_ms = elapsed_ms(r);
    }
}

// What the reply has used so far stands in the lease, so that it is charged even if this process is killed.
void note_progress(ngx_http_request_t* r, request_ctx& ctx)
{
    if (!ctx.usage.known()) {
        return;
    }
    token_counts c = ctx.usage.counts();
    token_progress progress = {c.prompt, c.cached, c.completion, c.reasoning};
    ctx.held->set_progress(progress);
    if (ctx.watched && !ctx.complete) {
        uint64_t used = weighted(progress, ctx.held->weights);
        if (used > ctx.granted) {
            extend_lease(r, ctx, used);
        }
    }
}

ngx_int_t header_filter(ngx_http_request_t* r)
{
    request_ctx* ctx = held_request(r);
    if (!ctx) {
        return next_header_filter(r);
    }
    start_reading(r, *ctx);
    if (!add_limit_headers(r, ctx->report)) {
        return NGX_ERROR;
    }
    ctx->complete = false;
    ngx_int_t rc = next_header_filter(r);
    // No body follows, so that body_filter() will not see an end (HEAD, 204, 304).
    ctx->complete = r->header_only;
    return rc;
}

ngx_int_t body_filter(ngx_http_request_t* r, ngx_chain_t* in)
{
    request_ctx* ctx = held_request(r);
    if (!ctx) {
        return next_body_filter(r, in);
    }
    if (ctx->is_cut) {
        in = ends_of(r, in);
    }
    for (ngx_chain_t* cl = in; cl; cl = cl->next) {
        ngx_buf_t* b = cl->buf;
        if (ctx->reading_reply && ngx_buf_in_memory(b) && b->last > b->pos) {
            ctx->usage.feed({reinterpret_cast<char*>(b->pos), static_cast<size_t>(b->last - b->pos)});
        }
        if (b->last_buf && !ctx->complete) {
            ctx->complete = true;
            if (ctx->reading_reply) {
                ctx->usage.finish();
            }
        }
    }
    if (ctx->reading_reply) {
        note_first_content(r, *ctx);
        note_progress(r, *ctx);
    }
    ngx_int_t rc = next_body_filter(r, in);
    if (rc == NGX_ERROR || !ctx->to_cut || ctx->is_cut || !ctx->usage.at_event_border()) {
        return rc;
    }
    ngx_chain_t* last_words = cut_stream(r, *ctx);
    return last_words ? next_body_filter(r, last_words) : NGX_ERROR;
}

} // namespace

void install_reply_filters()
{
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;
}

} // namespace llm
