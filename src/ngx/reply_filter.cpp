// The reply's way out: its usage is read from the bytes as they pass. They are passed on as they are, but for
// those that are there only because the gateway asked for them.

#include "reply_filter.h"

#include "access.h"
#include "accounting.h"
#include "headers_in.h"
#include "limit_headers.h"
#include "model_list.h"
#include "own_time.h"
#include "reply_cut.h"
#include "reply_walk.h"
#include "request.h"

#include <optional>

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
    return ctx && ctx->holds_lease() ? ctx : nullptr;
}

// Also what servers write there that is none.
bool is_no_coding(std::string_view coding)
{
    for (const std::string_view none : {"", "identity", "none", "utf-8", "utf8"}) {
        if (same_without_case(coding, none)) {
            return true;
        }
    }
    return false;
}

// Bytes will be taken out of it: the client is told no length and waits for the end.
void prepare_edit(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.reply.to_come = -1;
    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_weak_etag(r);
}

// Whether it may be a stream of events, whatever it is said to be. Where it has a length, which an edit takes
// from the client, the first bytes are asked, if they are here.
bool may_have_events(ngx_http_request_t* r, reply_form said)
{
    if (said == reply_form::lines) {
        return false;
    }
    if (said == reply_form::sse || r->headers_out.content_length_n < 0) {
        return true;
    }
    const ngx_buf_t& b = r->upstream->buffer;
    reply_begin begin;
    reply_form shown = reply_form::unknown;
    for (const u_char* p = b.pos; p != b.last && shown == reply_form::unknown; ++p) {
        shown = begin.take(static_cast<char>(*p));
    }
    return shown == reply_form::unknown || shown == reply_form::sse;
}

// The server that has answered, for who looks at what runs.
void note_server(const ngx_http_upstream_t& u, lease& held)
{
    const sockaddr* address = u.peer.sockaddr;
    if (!address) {
        return;
    }
    const auto bytes = [](const auto& part) {
        return std::span(reinterpret_cast<const uint8_t*>(&part), sizeof part);
    };
    if (address->sa_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(*address);
        held.set_server(bytes(v4.sin_addr), ntohs(v4.sin_port));
    } else if (address->sa_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(*address);
        held.set_server(bytes(v6.sin6_addr), ntohs(v6.sin6_port));
    }
}

// Only the upstream's own success has usage: an error page, a refusal or a file of nginx's passes here too.
// After an internal redirect or a retry it is the last reply that counts.
void start_reading(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.reply.reading = false;
    ctx.reply.compressed = false;
    forget_progress(ctx);
    ctx.reply.edit = {};
    ctx.reply.to_come = r->headers_out.content_length_n;
    if (!r->upstream || !is_success(r->upstream->headers_in.status_n) || !is_success(r->headers_out.status)) {
        return;
    }
    ctx.held->set_answered();
    note_server(*r->upstream, *ctx.held);
    reply_form form = reply_form_of(view(r->headers_out.content_type));
    if (form == reply_form::none) {
        return;
    }
    ngx_table_elt_t* coding = r->headers_out.content_encoding;
    if (coding && !is_no_coding(view(coding->value))) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm: the upstream's reply is coded as \"%V\", its usage cannot be read: clear "
                      "Accept-Encoding towards the upstream",
                      &coding->value);
        ctx.reply.compressed = true;
        return;
    }
    const bool streams = ctx.asked.stream || form != reply_form::json;
    strip_what strip =
        ctx.strip != strip_what::nothing && may_have_events(r, form) ? ctx.strip : strip_what::nothing;
    new (&ctx.usage) usage_reader(form, ctx.asked.prompts, strip);
    ctx.usage.expect_choices(ctx.asked.size.choices);
    ctx.reply.reading = true;
    if (streams) {
        ctx.reply.ratios = ratios_of(ctx);
    }
    // A reply that nginx has put into a file or a cache has to be brought back.
    r->filter_need_in_memory = 1;
    const bool may_be_cut = ctx.cut.hard && streams && can_be_cut(r);
    if (may_be_cut) {
        ctx.usage.hold_events();
    }
    if (strip != strip_what::nothing || may_be_cut) {
        ctx.reply.edit.edits = true;
        prepare_edit(r, ctx);
    }
}

// An upstream's list of models, as far as a key may see it. NGX_OK, or what the request is to end with.
ngx_int_t begin_list(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.reply.list = nullptr;
    if (!ctx.names.picks_models || !r->upstream || !is_success(r->headers_out.status) || !shows_models(r)) {
        return NGX_OK;
    }
    if (ctx.reply.compressed) {
        return NGX_HTTP_BAD_GATEWAY;
    }
    ctx.reply.list = make_model_list(r, ctx);
    ctx.reply.reading = false;
    r->filter_need_in_memory = 1;
    prepare_edit(r, ctx);
    return ctx.reply.list ? NGX_OK : NGX_ERROR;
}

void note_first_content(ngx_http_request_t* r, request_ctx& ctx)
{
    if (ctx.reply.first_content_ms < 0 && ctx.usage.content_seen()) {
        ctx.reply.first_content_ms = elapsed_ms(r);
        ctx.held->set_first_content(
            static_cast<uint32_t>(std::min<ngx_msec_int_t>(ctx.reply.first_content_ms, UINT32_MAX)));
    }
}

// What the reply has used so far is in the lease, so that it is charged even if this process is killed, and
// limits see how long a stream gets that tells nothing.
void note_progress(ngx_http_request_t* r, request_ctx& ctx)
{
    if (!ctx.usage.known() && (ctx.usage.form() == reply_form::json || !ctx.usage.content_seen())) {
        return;
    }
    if (!is_charged(r, ctx)) {
        return;
    }
    take_progress(ctx);
    ctx.held->set_progress(ctx.account.used);
    if (ctx.cut.watched && !ctx.reply.complete) {
        uint64_t used = weighted(ctx.account.used, ctx.held->weights);
        if (used > ctx.cut.granted) {
            extend_lease(r, ctx, used);
        }
    }
}

void count_as_sent(ngx_chain_t* chain)
{
    for (ngx_chain_t* cl = chain; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }
}

// With "proxy_ignore_client_abort on" the upstream may end what the client does not wait for, and that is
// charged. nginx itself gives up on the upstream with the first write to the client that fails.
// Not with HTTP/2 and buffering: frames that are queued then point to buffers that would be filled anew.
bool begin_drain(ngx_http_request_t* r, request_ctx& ctx)
{
    ngx_http_upstream_t* u = r->upstream;
    if (!client_left(r) || !ctx.reply.reading || ctx.cut.due || !u || !u->conf->ignore_client_abort
        || (u->buffering && r->stream)) {
        return false;
    }
    ctx.reply.drains = true;
    // Or else nginx would wait for room in its buffers.
    count_as_sent(r->out);
    count_as_sent(u->buffering ? u->pipe->busy : u->busy_bufs);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "llm: the client has left, the upstream is read to its end");
    return true;
}

bool has_end(const ngx_chain_t* in)
{
    while (in && !in->buf->last_buf) {
        in = in->next;
    }
    return in;
}

// Counts the chain's bytes against the reply's Content-Length. Returns whether its last byte is in the chain:
// then the reply is whole, for the client too, which may leave now. The end itself may come later (an
// upstream that speaks HTTP/2 may send END_STREAM in a frame of its own), and nobody waits for it.
bool has_last_byte(request_ctx& ctx, const ngx_chain_t* in)
{
    if (ctx.reply.to_come < 0) {
        return false;
    }
    for (; in; in = in->next) {
        ctx.reply.to_come -= ngx_buf_size(in->buf);
    }
    return ctx.reply.to_come <= 0;
}

// `ends`: the reply's last byte is in the chain. Returns whether that is so, or else its end is.
bool read_reply(request_ctx& ctx, ngx_chain_t* in, bool ends)
{
    reply_walk walk(ctx.usage, in);
    while (const ngx_chain_t* link = walk.next()) {
        ctx.usage.feed(bytes_of(link->buf));
        ends = ends || link->buf->last_buf;
    }
    if (ends && !ctx.reply.complete) {
        ctx.usage.finish();
    }
    return ends;
}

// nginx has lost its upstream in the middle of the reply: it flushes what it has, once, without an end.
bool gives_up(ngx_http_request_t* r, ngx_chain_t* in)
{
    return in && !in->next && ngx_buf_special(in->buf) && in->buf->flush && !in->buf->last_buf && r->upstream
           && !r->upstream->peer.connection;
}

// All of the reply that there will ever be has gone out. The request may last longer: nginx waits for clients
// that keep a connection which it has closed (lingering_close), and for mirrors.
bool has_gone_out(ngx_http_request_t* r, const request_ctx& ctx)
{
    return (ctx.reply.complete || ctx.reply.given_up) && !r->out && !r->buffered && !r->connection->buffered;
}

ngx_int_t header_filter(ngx_http_request_t* r)
{
    request_ctx* ctx = held_request(r);
    if (!ctx) {
        if (r->headers_out.status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
            note_too_large(r);
        }
        return next_header_filter(r);
    }
    own_time time(*ctx);
    start_reading(r, *ctx);
    if (ngx_int_t rc = begin_list(r, *ctx); rc != NGX_OK) {
        return rc;
    }
    if (!add_limit_headers(r, ctx->decided.report)) {
        return NGX_ERROR;
    }
    ctx->reply.complete = false;
    ctx->reply.given_up = false;
    time.stop(*ctx);
    ngx_int_t rc = next_header_filter(r);
    // No body follows, so that body_filter() will not see an end (HEAD, 204, 304); or it is empty.
    ctx->reply.complete = r->header_only || ctx->reply.to_come == 0;
    // Of a range other bytes pass than the length that stood there when start_reading() looked.
    if (r->headers_out.status == NGX_HTTP_PARTIAL_CONTENT) {
        ctx->reply.to_come = -1;
    }
    if (ctx->reply.complete && rc == NGX_OK && has_gone_out(r, *ctx)) {
        settle(r);
    }
    return rc;
}

ngx_int_t body_filter(ngx_http_request_t* r, ngx_chain_t* in)
{
    request_ctx* ctx = held_request(r);
    if (!ctx) {
        return next_body_filter(r, in);
    }
    own_time time(*ctx);
    if (ctx->cut.done) {
        in = ends_of(r, in);
    }
    const bool given_up_now = gives_up(r, in);
    ctx->reply.given_up = ctx->reply.given_up || given_up_now;
    bool ends = has_last_byte(*ctx, in);
    ngx_chain_t* out = in;
    std::optional<reply_edit> edit;
    std::optional<model_list_edit> list;
    if (ctx->reply.list) {
        ends = has_end(in);
        list.emplace(r, *ctx->reply.list);
        if (!list->run(in, out)) {
            list->passed_on();
            return NGX_ERROR;
        }
    } else if (ctx->reply.edit.edits) {
        edit.emplace(r, ctx->usage, ctx->reply.edit);
        if (!edit->run(in, given_up_now, out)) {
            edit->passed_on();
            return NGX_ERROR;
        }
        ends = edit->ended();
    } else {
        ends = ctx->reply.reading ? read_reply(*ctx, in, ends) : ends || has_end(in);
    }
    ctx->reply.complete = ctx->reply.complete || ends;
    if (ctx->reply.reading) {
        note_first_content(r, *ctx);
        note_progress(r, *ctx);
    }
    time.stop(*ctx);
    ngx_int_t rc = NGX_OK;
    if (!ctx->reply.drains && (out || !in)) {
        rc = next_body_filter(r, out);
    }
    if (ctx->reply.drains || (rc == NGX_ERROR && begin_drain(r, *ctx))) {
        count_as_sent(out);
        rc = ctx->cut.due ? NGX_ERROR : NGX_OK;
    }
    if (edit) {
        edit->passed_on();
    }
    if (list) {
        list->passed_on();
    }
    // Behind its own end a reply is whole: clients throw it away for an error that follows.
    if (rc != NGX_ERROR && ctx->cut.due && !ctx->cut.done && ctx->reply.reading && can_be_cut(r)
        && !ctx->usage.whole() && ctx->usage.settled_at_border()) {
        ngx_chain_t* last_words = cut_stream(r, *ctx);
        return last_words ? next_body_filter(r, last_words) : NGX_ERROR;
    }
    if (rc == NGX_OK && has_gone_out(r, *ctx)) {
        settle(r);
    }
    return rc;
}

} // namespace

ngx_int_t pass_on(ngx_http_request_t* r, ngx_chain_t* chain)
{
    return next_body_filter(r, chain);
}

void install_reply_filters()
{
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;
}

} // namespace llm
