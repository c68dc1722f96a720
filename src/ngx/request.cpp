#include "request.h"

#include "accounting.h"
#include "clock.h"
#include "own_time.h"
#include "request_body.h"
#include "running.h"

#include "core/api/api_table.h"

#include <algorithm>

namespace llm {

namespace {

static_assert(sizeof(request_facts) <= sizeof(usage_reader) && sizeof(form_facts) <= sizeof(usage_reader),
              "what is read of the body costs no room");

// The pool's cleanup record in which the context lies is also how it is found again: it survives internal
// redirects, which clear the request's own pointer to the context.
void free_context(void* data)
{
    auto* ctx = static_cast<request_ctx*>(data);
    // Its room may lie unused for long: nothing stays in it of what was read of the body, or of the reply.
    explicit_bzero(static_cast<void*>(&ctx->usage), sizeof ctx->usage);
    ctx->home->requests.give(data);
}

request_ctx* search_pool(ngx_http_request_t* r)
{
    for (ngx_pool_cleanup_t* c = r->pool->cleanup; c; c = c->next) {
        if (c->handler == free_context) {
            return static_cast<request_ctx*>(c->data);
        }
    }
    return nullptr;
}

// A client that has read a stream to its last word need not wait for the end of the connection.
bool said_all(const request_ctx& ctx)
{
    return ctx.reply.reading && ctx.usage.form() != reply_form::json
           && (ctx.usage.done_seen() || ctx.usage.final());
}

outcome outcome_of(ngx_http_request_t* r, const request_ctx& ctx)
{
    if (ctx.cut.done) {
        return outcome::cut;
    }
    // Clients leave as soon as they see an error in a stream.
    if (ctx.reply.reading && ctx.usage.error_seen()) {
        return outcome::upstream_error;
    }
    // A WebSocket ends when either side closes it.
    if (r->headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        return outcome::ok;
    }
    const bool left = client_left(r);
    if (ctx.reply.drains || (!ctx.reply.complete && left && !said_all(ctx))) {
        return outcome::client_abort;
    }
    if ((!ctx.reply.complete && !left) || r->headers_out.status >= NGX_HTTP_BAD_REQUEST) {
        return outcome::upstream_error;
    }
    if (ctx.reply.reading && ctx.usage.lacks_end()) {
        return outcome::upstream_error;
    }
    return ctx.reply.reading && ctx.usage.incomplete_seen() ? outcome::incomplete : outcome::ok;
}

// For the book. A stream's times are those of its content.
request_end end_of(const request_ctx& ctx)
{
    request_end end{.is = ctx.end.is,
                    .source = ctx.account.source,
                    .timed = true,
                    .has_first = false,
                    .ms = static_cast<uint32_t>(std::min<ngx_msec_int_t>(ctx.end.ms, UINT32_MAX)),
                    .first_ms = 0,
                    .token_us = 0,
                    .gateway_ns = static_cast<uint32_t>(std::min<uint64_t>(ctx.own.ns, UINT32_MAX))};
    if (ctx.reply.first_content_ms < 0 || !ctx.reply.reading || ctx.usage.form() == reply_form::json) {
        return end;
    }
    end.has_first = true;
    end.first_ms = static_cast<uint32_t>(std::min<ngx_msec_int_t>(ctx.reply.first_content_ms, UINT32_MAX));
    const uint64_t tokens = ctx.account.used.completion;
    if (tokens > 1 && ctx.end.ms > ctx.reply.first_content_ms && ctx.account.source != usage_source::none) {
        const auto us = static_cast<uint64_t>(ctx.end.ms - ctx.reply.first_content_ms) * 1000;
        end.token_us = static_cast<uint32_t>(std::clamp<uint64_t>(us / (tokens - 1), 1, UINT32_MAX));
    }
    return end;
}

refusal why_refused(const ngx_http_request_t* r, const request_ctx& ctx)
{
    if (ctx.refused != refusal::none) {
        return ctx.refused;
    }
    // nginx has answered itself: its body is too large, or not what its header says.
    return r->headers_out.status < NGX_HTTP_INTERNAL_SERVER_ERROR ? refusal::bad_request : refusal::internal;
}

// A request under keys that was never let in is in the book as well.
void count_unadmitted(const ngx_http_request_t* r, request_ctx& ctx)
{
    if (ctx.refused != refusal::none && !stands_refused(r, ctx)) {
        return;
    }
    // nginx may have answered it itself before it saw the client leave.
    const bool left = ctx.refused == refusal::none && !r->header_sent && client_left(r);
    ctx.end.is = left ? outcome::client_abort : outcome::refused;
    ctx.end.by = left ? refusal::none : why_refused(r, ctx);
    const zone_conf& zone = *ctx.decided.zone;
    const book_names names = zone.state->names_of(view(ctx.names.key), view(ctx.names.user),
                                                  ctx.counted_model(), ctx.names.named_user);
    zone_session session(zone);
    if (left) {
        session->count_undecided(names, {.is = outcome::client_abort, .let_in = false}, time_of_event());
    } else {
        session->count_refused(names, ctx.end.by, time_of_event());
    }
}

// Runs before the log phase, so that the log shows what was charged, and however the request ends.
void settle_what_is_left(void* request)
{
    auto* r = static_cast<ngx_http_request_t*>(request);
    settle(r);
    request_ctx* ctx = find_request(r);
    if (ctx && ctx->step < request_step::admitted && ctx->decided.zone) {
        count_unadmitted(r, *ctx);
    }
}

// False if there is no memory.
bool settle_at_end(ngx_http_request_t* r)
{
    ngx_http_cleanup_t* cleanup = ngx_http_cleanup_add(r, 0);
    if (!cleanup) {
        return false;
    }
    cleanup->handler = settle_what_is_left;
    cleanup->data = r->main;
    return true;
}

} // namespace

void settle(ngx_http_request_t* r)
{
    request_ctx* ctx = find_request(r);
    if (!ctx || !ctx->holds_lease()) {
        return;
    }

    own_time time(*ctx);
    ctx->decided.zone->state->prefetch(*ctx->held);
    account(r, *ctx);
    ctx->end.is = outcome_of(r, *ctx);
    ctx->end.ms = elapsed_ms(r);
    learn_from(*ctx);

    const book_names names = ctx->decided.zone->state->names_of(*ctx->held);
    time.stop(*ctx);
    const request_end end = end_of(*ctx);

    with_lock(*ctx->decided.zone, [&] {
        ctx->decided.zone->state->settle(*ctx->held, ctx->account.used, time_of_event(), end, names);
    });
    ctx->step = request_step::settled;
    leave_running(*ctx);
}

request_ctx* find_lost_request(ngx_http_request_t* r)
{
    request_ctx* ctx = search_pool(r);
    if (ctx) {
        // Who read the body has given up on it, if it leads elsewhere: a chunked body got too large.
        if (ctx->step == request_step::reading_body) {
            ctx->step = request_step::keyed;
        }
        ngx_http_set_ctx(r, ctx, ngx_http_llm_module);
    }
    return ctx;
}

request_ctx* find_or_make_request(ngx_http_request_t* r)
{
    if (request_ctx* ctx = find_request(r)) {
        return ctx;
    }
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(r->pool, 0);
    if (!cleanup || !settle_at_end(r)) {
        return nullptr;
    }
    main_conf* home = main_conf_of(r);
    // A request's room is not from its pool: it would not fit into what most requests leave free of the
    // pool's block, and a second block is four times as large. malloc would be slow with many requests at
    // once: glibc keeps seven pieces of a size at hand.
    void* memory = home->requests.take(sizeof(request_ctx), r->connection->log);
    if (!memory) {
        return nullptr;
    }
    api_call call = call_by_path(r, view(r->main->uri));
    call.speaks = api_by_path(r);
    auto* ctx = new (memory) request_ctx(call, location_conf_of(r)->errors, home);
    begin_own_time(*ctx);
    name_model_by_target(r, *ctx);
    cleanup->handler = free_context;
    cleanup->data = ctx;
    ngx_http_set_ctx(r, ctx, ngx_http_llm_module);
    return ctx;
}

bool stands_refused(const ngx_http_request_t* r, const request_ctx& ctx)
{
    return ctx.refused != refusal::none
           && (!ctx.refusal_is_left || r->headers_out.status == answer_of(ctx.refused).status);
}

// Over HTTP/1 and 2 nginx sets the connection's `error` (HTTP/2: that of the stream's own connection object)
// wherever it sees that the client is gone, that it gave up a stream, or that a write failed; and `timedout`
// where it waited too long for the client. worker_shutdown_timeout sets `error` too, on what it ends.
//
// Over HTTP/3 `error` comes only with a read or a write of nginx's own that fails. That a client gives up a
// stream (STOP_SENDING) and that the QUIC connection ends (closed, lost, idle for too long) is told by the
// stream's write event alone: nginx ends the request by that and does not set the other.
//
// Not looked at: `close`. With the end of the QUIC connection it comes together with the write event's
// `error`; otherwise nginx sets it on connections without a request in flight, to have them back, and in
// worker_shutdown_timeout, together with `error` (over HTTP/3 on the QUIC connection only, whose requests go
// on).
//
// Nor the read event's `error`: the client has reset what it sends, and may still read the reply. Where nginx
// takes that for its leave (in the body, or where nothing is sent upstream), it sets the connection's
// `error`.
bool client_left(const ngx_http_request_t* r)
{
    const ngx_connection_t* c = r->connection;
    if (c->error || c->timedout) {
        return true;
    }
#if nginx_version >= 1025000 && (NGX_QUIC || NGX_COMPAT)
    // Of a module that was built without HTTP/3, --with-compat lets an nginx with it load it.
    return c->quic && c->write->error;
#else
    return false;
#endif
}

api asked_api(ngx_http_request_t* r)
{
    const request_ctx* ctx = find_request(r);
    const api by_path = ctx ? ctx->call.speaks : api_by_path(r);
    const errors_as& errors = ctx ? ctx->errors : location_conf_of(r)->errors;
    if (errors.is != errors_as::shape || row_of(by_path).name == errors.name) {
        return by_path;
    }
    const auto rows = api_rows();
    const auto row =
        std::find_if(rows.begin(), rows.end(), [&](const api_row& of) { return of.name == errors.name; });
    return static_cast<api>(row - rows.begin());
}

bool only_looks(const ngx_http_request_t* r)
{
    const std::string_view line = view(r->request_line);
    return line.starts_with("GET ") || line.starts_with("HEAD ") || line.starts_with("OPTIONS ");
}

bool only_reads(const ngx_http_request_t* r)
{
    return only_looks(r) || view(r->request_line).starts_with("DELETE ");
}

api api_by_path(const ngx_http_request_t* r)
{
    const std::string_view path = view(r->main->unparsed_uri);
    const api found = api_of_path(path);
    // "/v1/models/qwen3:8b" has a name of Ollama's, and no method of Google's.
    const bool is_name = found == api::gemini && only_reads(r) && call_of_path(path).model_to_make;
    return is_name ? api::openai : found;
}

api_call call_by_path(const ngx_http_request_t* r, std::string_view path)
{
    api_call call = call_of_path(path);
    if (call.model_to_make && only_reads(r)) {
        call.model = {};
        call.unclear_model = false;
    }
    return call;
}

ngx_msec_int_t elapsed_ms(ngx_http_request_t* r)
{
    ngx_time_t* now = ngx_timeofday();
    auto ms = static_cast<ngx_msec_int_t>(
        (now->sec - r->start_sec) * 1000
        + (static_cast<ngx_msec_int_t>(now->msec) - static_cast<ngx_msec_int_t>(r->start_msec)));
    return ms > 0 ? ms : 0;
}

} // namespace llm
