// Streams that outgrow what was reserved for them.

#include "reply_cut.h"

#include "access.h"
#include "clock.h"
#include "error_reply.h"

#include "core/api/error_body.h"

namespace llm {

namespace {

// A stream takes this much at a time, so that it does not come back with each token, and so goes at most this
// far beyond a hard quota.
constexpr uint64_t extension_step = 64;

} // namespace

bool can_be_cut(ngx_http_request_t* r)
{
    return r->upstream && !r->upstream->buffering && r->headers_out.content_length_n < 0;
}

void watch(request_ctx& ctx, bool has_tokens, uint64_t granted, bool hard)
{
    ctx.cut.watched = has_tokens;
    ctx.cut.granted = granted;
    ctx.cut.hard = hard;
}

void extend_lease(ngx_http_request_t* r, request_ctx& ctx, uint64_t used)
{
    // The limits are those of the key that the lease was taken with: a redirect may have led to keys of
    // another zone since.
    admission_request request = describe(r, ctx, *ctx.decided.leased_by, now_of_both_clocks());
    extension_result result;
    {
        zone_session session(*ctx.decided.zone);
        // What it has used already is past asking. The question is whether it may go on.
        session->extend(*ctx.held, request, used - ctx.cut.granted);
        result = session->extend(*ctx.held, request, extension_step);
    }
    ctx.cut.granted = used + extension_step;
    if (result.cut && !ctx.cut.due && can_be_cut(r) && !ctx.usage.whole()) {
        ctx.cut.due = true;
        ctx.cut_by = result.refused_by;
        // What is left of the quota may be held by others only; to this stream it is spent.
        ctx.cut_by.wait_ms = limit_refusal::wait_never;
    }
}

ngx_chain_t* cut_stream(ngx_http_request_t* r, request_ctx& ctx)
{
    char detail_text[limit_detail_bytes];
    error_text error = {answer_of(refusal_of(ctx.cut_by)), write_limit_detail(ctx.cut_by, detail_text), {}};

    ngx_chain_t* link = ngx_alloc_chain_link(r->pool);
    ngx_buf_t* b = ngx_create_temp_buf(r->pool, error_text_bytes(error));
    if (!link || !b) {
        return nullptr;
    }
    bool lines = ctx.usage.form() == reply_form::lines;
    b->last += write_error_event(asked_api(r), lines ? stream_form::json_lines : stream_form::events, error,
                                 reinterpret_cast<char*>(b->pos));
    b->flush = 1;
    link->buf = b;
    link->next = nullptr;

    // To the upstream module the reply is now whole, and its connection not fit for another request, so that
    // it closes it: the model stops.
    r->upstream->length = 0;
    r->upstream->keepalive = 0;
    ctx.cut.done = true;
    ctx.reply.edit.drop_held(); // a part of the next event, perhaps
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "llm: stream ended by a hard limit");
    return link;
}

ngx_chain_t* ends_of(ngx_http_request_t* r, ngx_chain_t* in)
{
    ngx_chain_t* first = nullptr;
    ngx_chain_t** last = &first;
    for (ngx_chain_t* cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        if (!cl->buf->last_buf) {
            continue;
        }
        *last = ngx_alloc_chain_link(r->pool);
        if (!*last) {
            return nullptr;
        }
        (*last)->buf = cl->buf;
        (*last)->next = nullptr;
        last = &(*last)->next;
    }
    // More may have come in behind the end that was set.
    r->upstream->length = 0;
    r->upstream->keepalive = 0;
    return first;
}

} // namespace llm
