// Streams that outgrow what was reserved for them.

#include "reply_cut.h"

#include "clock.h"
#include "error_reply.h"
#include "key_check.h"
#include "limit_headers.h"
#include "reply_filter.h"

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

refusal refusal_of_cut(const request_ctx& ctx)
{
    switch (ctx.cut.why) {
    case stop_reason::none:
        break;
    case stop_reason::asked:
        return refusal::stopped;
    case stop_reason::key_revoked:
        return refusal::revoked;
    }
    return refusal_of(ctx.cut_by);
}

ngx_chain_t* cut_stream(ngx_http_request_t* r, request_ctx& ctx)
{
    char detail_text[limit_detail_bytes];
    const bool by_limit = ctx.cut.why == stop_reason::none;
    error_text error = {answer_of(refusal_of_cut(ctx)),
                        by_limit ? write_limit_detail(ctx.cut_by, detail_text) : std::string_view(),
                        {}};

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
    ngx_str_t reason = to_ngx(by_limit ? "a hard limit" : error.answer.reason);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "llm: stream ended: %V", &reason);
    return link;
}

namespace {

// As nginx itself does when a request ends early: its upstream is closed, and the model stops.
void leave_upstream(ngx_http_request_t* r)
{
    ngx_http_upstream_t* u = r->upstream;
    if (u && u->cleanup) {
        u->keepalive = 0;
        r->main->count++; // it gives one back, as if that were the request's end
        (*u->cleanup)(r);
    }
}

bool is_stream(const ngx_http_request_t* r, const request_ctx& ctx)
{
    return ctx.reply.reading && ctx.usage.form() != reply_form::json && r->headers_out.content_length_n < 0;
}

void answer_stopped(ngx_http_request_t* r, request_ctx& ctx)
{
    const refusal_answer& answer = answer_of(refusal_of_cut(ctx));
    if (ctx.errors.is == errors_as::nginx) {
        ngx_http_finalize_request(r, answer.status);
        return;
    }
    drop_refusal_headers(r);
    if ((answer.authenticate && !ask_for_key(r)) || !add_retry_headers(r, answer, 0)) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    ngx_http_finalize_request(r, send_error(r, answer, {}));
}

void end_stream(ngx_http_request_t* r, request_ctx& ctx)
{
    ngx_chain_t* words = cut_stream(r, ctx);
    ngx_chain_t* end = ngx_alloc_chain_link(r->pool);
    auto* last = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    if (!words || !end || !last) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }
    last->last_buf = 1;
    last->last_in_chain = 1;
    end->buf = last;
    end->next = nullptr;
    words->next = end;
    ngx_http_finalize_request(r, pass_on(r, words));
}

} // namespace

void end_stopped(ngx_http_request_t* r, request_ctx& ctx, bool in_any_case)
{
    const bool is_over = ctx.cut.done || ctx.reply.complete || ctx.reply.given_up;
    if (is_over || r->blocked) {
        return; // with `blocked`, a thread works for it
    }
    // Somebody else's access handler has it, and would go on with what is gone.
    if (!r->header_sent && !(r->upstream && r->upstream->cleanup)) {
        return;
    }
    ctx.cut.why = ctx.held->stopped();
    const bool stream = r->header_sent && is_stream(r, ctx);
    if (stream && ctx.usage.whole()) {
        return;
    }
    const bool at_border = stream && ctx.usage.settled_at_border();
    if (stream && !at_border && !in_any_case) {
        ctx.cut.due = true; // the filter may be there first
        return;
    }
    ngx_connection_t* c = r->connection;
    ngx_http_set_log_request(c->log, r);
    leave_upstream(r);
    if (!r->header_sent) {
        ctx.cut.done = true;
        settle(r); // the answer is not the reply that the lease is for
        answer_stopped(r, ctx);
    } else if (at_border) {
        end_stream(r, ctx);
    } else {
        ngx_str_t reason = to_ngx(answer_of(refusal_of_cut(ctx)).reason);
        ngx_log_error(NGX_LOG_INFO, c->log, 0, "llm: request cut off: %V", &reason);
        ctx.cut.done = true;
        ngx_http_finalize_request(r, NGX_ERROR);
    }
    ngx_http_run_posted_requests(c);
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
