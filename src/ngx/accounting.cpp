// What a request has used, once it is over: as the upstream said it, and where it did not, an estimate.

#include "error_reply.h"
#include "headers_in.h"
#include "request.h"

#include <algorithm>
#include <optional>

namespace llm {

namespace {

// Of JSON text: about four characters of English, as in OpenAI's rule of thumb.
constexpr uint64_t bytes_per_token = 4;

learned_figures& learned_of(const request_ctx& ctx)
{
    return ctx.zone->state->learned();
}

// Forms are not looked at: what is in them is mostly no text.
bool has_prompt(const request_ctx& ctx)
{
    return ctx.size.prompt_bytes != 0;
}

token_estimate likely(const request_ctx& ctx)
{
    return learned_of(ctx).estimate(view(ctx.key_name), view(ctx.model), ctx.size);
}

uint64_t content_tokens(ngx_http_request_t* r, const request_ctx& ctx)
{
    uint64_t bytes = ctx.usage.uncounted_bytes();
    if (ctx.usage.form() != reply_form::json) {
        return learned_of(ctx).tokens_of_stream(view(ctx.model), asked_api(r), bytes);
    }
    uint64_t tokens = (bytes + bytes_per_token - 1) / bytes_per_token;
    return ctx.usage.generates() ? std::min(tokens, learned_figures::max_completion) : 0;
}

// The request is whole with the upstream, and the client did not wait for the reply's header.
bool left_unanswered(ngx_http_request_t* r)
{
    const ngx_http_upstream_t* u = r->upstream;
    const ngx_connection_t* c = r->connection;
    return u && u->request_body_sent && !u->header_sent && (c->error || c->timedout)
           && (u->headers_in.status_n == 0 || u->headers_in.status_n == NGX_HTTP_OK);
}

// Whether the upstream has worked on what the request asks: a list of models or a count of tokens costs
// nothing, nor does an error instead of a first word.
bool has_worked(const request_ctx& ctx)
{
    const usage_reader& usage = ctx.usage;
    if (usage.form() != reply_form::json) {
        return usage.content_seen() || !usage.error_seen();
    }
    return usage.generates() || usage.has_vectors() || (!ctx.complete && !usage.content_seen());
}

std::optional<uint64_t> count_in_header(ngx_http_request_t* r, std::string_view name)
{
    std::optional<uint64_t> count;
    each_header(r->upstream->headers_in.headers, [&](const ngx_table_elt_t& header) {
        if (same_without_case(view(header.key), name)) {
            ngx_int_t n = ngx_atoi(header.value.data, header.value.len);
            if (n >= 0 && static_cast<uint64_t>(n) <= usage_counts::max_count) {
                count = static_cast<uint64_t>(n);
            }
        }
    });
    return count;
}

// TGI's own API tells the counts of a whole reply so, if the client did not ask for details.
bool take_headers(ngx_http_request_t* r, request_ctx& ctx)
{
    if (!r->upstream || ctx.usage.form() != reply_form::json) {
        return false;
    }
    std::optional<uint64_t> prompt = count_in_header(r, "x-prompt-tokens");
    std::optional<uint64_t> completion = count_in_header(r, "x-generated-tokens");
    if (!prompt || !completion || (*prompt | *completion) == 0) {
        return false;
    }
    ctx.used = {.prompt = *prompt, .completion = *completion};
    ctx.source = usage_source::upstream;
    return true;
}

// The upstream has told something.
void take_known(ngx_http_request_t* r, request_ctx& ctx)
{
    bool whole = ctx.usage.final();
    uint64_t untold = 0;
    if (ctx.usage.form() == reply_form::json) {
        whole = whole || ctx.complete;
    } else if (!whole) {
        untold = content_tokens(r, ctx);
        whole = ctx.complete && untold == 0;
    }
    ctx.used.completion += untold;
    ctx.source = untold ? usage_source::estimated : whole ? usage_source::upstream : usage_source::partial;
    // Ollama does not count a prompt that it has cached.
    if (ctx.used.prompt == 0 && has_prompt(ctx)) {
        ctx.used.prompt = likely(ctx).prompt;
        ctx.source = usage_source::estimated;
    }
}

void take_estimate(request_ctx& ctx, uint64_t completion)
{
    ctx.used = {.prompt = likely(ctx).prompt, .completion = completion};
    ctx.source = usage_source::estimated;
}

} // namespace

void account(ngx_http_request_t* r, request_ctx& ctx)
{
    // Of a reply that is complete the last progress is all.
    if (!ctx.reading_reply || !ctx.complete || !ctx.usage.known()) {
        ctx.used = {};
    }
    if (!ctx.reading_reply) {
        if (has_prompt(ctx) && (ctx.coded || left_unanswered(r))) {
            take_estimate(ctx, ctx.coded ? likely(ctx).completion : 0);
        }
        return;
    }
    if (!ctx.complete) {
        ctx.usage.finish();
        ctx.used = progress_of(ctx.usage.counts());
    }
    if (ctx.usage.known()) {
        take_known(r, ctx);
    } else if (!take_headers(r, ctx) && has_prompt(ctx) && has_worked(ctx)) {
        take_estimate(ctx, content_tokens(r, ctx));
    }
}

void learn_from(ngx_http_request_t* r, const request_ctx& ctx)
{
    if (ctx.source != usage_source::upstream || !ctx.complete || ctx.ended == outcome::upstream_error
        || ctx.ended == outcome::cut) {
        return;
    }
    learned_figures& learned = learned_of(ctx);
    if (ctx.watched) {
        learned.learn(view(ctx.key_name), view(ctx.model), ctx.size, ctx.used.prompt, ctx.used.completion);
    } else {
        learned.learn(view(ctx.model), ctx.size, ctx.used.prompt, ctx.used.completion);
    }
    if (uint64_t bytes = ctx.usage.counted_bytes()) {
        learned.learn_stream(view(ctx.model), asked_api(r), bytes, ctx.used.completion);
    }
}

} // namespace llm
