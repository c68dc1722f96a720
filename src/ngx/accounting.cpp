// What a request has used, once it is over: as the upstream said it, and where it did not, an estimate.

#include "accounting.h"

#include "headers_in.h"

#include "core/shared/usage_bounds.h"

#include <algorithm>
#include <optional>

namespace llm {

namespace {

token_estimator& learned_of(const request_ctx& ctx)
{
    return ctx.decided.zone->state->learned();
}

// Forms are not looked at: what is in them is mostly no text.
bool has_prompt(const request_ctx& ctx)
{
    return ctx.asked.size.prompt_bytes != 0;
}

uint64_t estimated_prompt(const request_ctx& ctx, const token_ratios& ratios)
{
    return ratios.prompt_tokens(ctx.asked.size);
}

// The client has asked for a reply without text and counts, and has it: it is not free for that.
bool was_told_to_hide(const request_ctx& ctx)
{
    const usage_reader& usage = ctx.usage;
    return ctx.asked.names_fields && ctx.reply.complete && ctx.call.generates && has_prompt(ctx)
           && !usage.error_seen() && usage.counts().completion == 0 && usage.shown_text().bytes == 0;
}

// Not less than half of the default: a key's short replies are not to make its long ones cheap.
uint64_t usual_completion(const request_ctx& ctx)
{
    const uint64_t own = learned_of(ctx).own_completion(view(ctx.names.key), ctx.counted_model());
    return std::max(own, token_estimator::default_completion / 2) * ctx.asked.size.choices;
}

uint64_t untold_completion(const request_ctx& ctx)
{
    const usage_reader& usage = ctx.usage;
    if (was_told_to_hide(ctx)) {
        return usual_completion(ctx);
    }
    if (usage.form() != reply_form::json) {
        return ctx.reply.ratios.text_tokens(usage.uncounted_text());
    }
    // A reply that holds text, but not where it is known to be, has it somewhere.
    const text_size text = usage.uncounted_text();
    return text.bytes == 0 && usage.hides_text() ? token_ratios().text_tokens({usage.json_bytes(), 0})
                                                 : ratios_of(ctx).text_tokens(text);
}

uint64_t bytes_shown(const usage_reader& usage)
{
    return usage.form() == reply_form::json ? usage.json_bytes() : usage.shown_text().bytes;
}

// The request is whole with the upstream, and the client did not wait for the reply's header.
bool left_unanswered(ngx_http_request_t* r)
{
    const ngx_http_upstream_t* u = r->upstream;
    return u && u->request_body_sent && !u->header_sent && client_left(r)
           && (u->headers_in.status_n == 0 || is_success(u->headers_in.status_n));
}

// Whether the upstream has worked on what the request asks: a list of models or a count of tokens costs
// nothing, nor does an error instead of a first word.
bool has_worked(const request_ctx& ctx)
{
    const usage_reader& usage = ctx.usage;
    if (usage.form() == reply_form::sse || usage.form() == reply_form::lines) {
        return usage.content_seen() || !usage.error_seen();
    }
    return usage.generates() || usage.has_vectors() || was_told_to_hide(ctx)
           || (!ctx.reply.complete && !usage.content_seen());
}

// What a reply shows is charged although nothing is known of the request.
bool shows_text(const request_ctx& ctx)
{
    return ctx.asked.has_body && ctx.call.generates && ctx.usage.uncounted_text().bytes != 0;
}

// Below this many bytes a reply that cannot be read is taken for an error, or a word of thanks.
constexpr uint64_t least_unread = 1024;

// A reply of some size, to a prompt, that cannot be read or says nothing that is known: it is not free for
// that.
bool hides_generation(ngx_http_request_t* r, const request_ctx& ctx)
{
    constexpr std::string_view html = "text/html";
    const usage_reader& usage = ctx.usage;
    return has_prompt(ctx) && ctx.call.generates && usage.unread() && !usage.error_seen()
           && usage.json_bytes() >= least_unread
           && !same_without_case(view(r->headers_out.content_type).substr(0, html.size()), html);
}

void warn_of_unread(ngx_http_request_t* r)
{
    location_conf* conf = location_conf_of(r);
    if (!conf->warned_of_unread) {
        conf->warned_of_unread = 1;
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm: the reply to \"%V\" tells no usage in a form that is known: it is charged by an "
                      "estimate, and so are further ones in this location",
                      &r->uri);
    }
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
    const token_counts told{.prompt = *prompt, .completion = *completion};
    const token_counts counts = usage_bounds(ctx.asked.size).within(told, bytes_shown(ctx.usage));
    ctx.account.used = counts;
    ctx.account.source = counts == told ? usage_source::upstream : usage_source::estimated;
    return true;
}

void warn_of_counts(ngx_http_request_t* r, const request_ctx& ctx)
{
    if (ctx.account.source != usage_source::estimated) {
        return;
    }
    const token_counts told = ctx.usage.counts();
    if (told.prompt > ctx.account.used.prompt || told.completion > ctx.account.used.completion) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm: the upstream told %uL prompt and %uL completion tokens, which the request cannot "
                      "have used: %uL and %uL are charged",
                      told.prompt, told.completion, ctx.account.used.prompt, ctx.account.used.completion);
    }
}

// Of a reply of which nothing is known but the request.
void take_estimate(request_ctx& ctx, uint64_t completion)
{
    ctx.account.used = {.prompt = estimated_prompt(ctx, ratios_of(ctx)),
                        .completion = std::min(completion, max_estimated_completion(ctx.asked.size))};
    ctx.account.source = usage_source::estimated;
}

} // namespace

// What was generated before is read here, or looked for: that costs nothing, however often it is done. A
// stream brings it for the first time.
bool is_charged(ngx_http_request_t* r, const request_ctx& ctx)
{
    return ctx.usage.form() == reply_form::sse || ctx.usage.form() == reply_form::lines || !only_reads(r);
}

bool is_success(ngx_uint_t status)
{
    return status >= 200 && status < 300;
}

token_ratios ratios_of(const request_ctx& ctx)
{
    return learned_of(ctx).ratios(view(ctx.names.key), ctx.counted_model());
}

usage_so_far reckon(const request_ctx& ctx)
{
    const usage_reader& usage = ctx.usage;
    const bool is_json = usage.form() == reply_form::json;
    const token_counts told = usage.counts();
    const token_counts counts = usage_bounds(ctx.asked.size).within(told, bytes_shown(usage));
    bool whole = usage.final() || (is_json && ctx.reply.complete && usage.known());
    bool estimated = counts != told;
    usage_so_far so_far{counts, usage_source::none};

    // No completion beside text is one that was not told, or not as a count.
    const bool untold = counts.completion == 0 || (!whole && !(is_json && usage.known()));
    if (untold) {
        const uint64_t most = max_estimated_completion(ctx.asked.size);
        if (const uint64_t untold = untold_completion(ctx)) {
            so_far.tokens.completion =
                std::max(counts.completion, std::min(counts.completion + untold, most));
            estimated = true;
        }
        whole = whole || ctx.reply.complete;
    }
    // Ollama does not count a prompt that it has cached.
    if (so_far.tokens.prompt == 0 && has_prompt(ctx)) {
        so_far.tokens.prompt = estimated_prompt(ctx, is_json ? ratios_of(ctx) : ctx.reply.ratios);
        estimated = true;
    }
    so_far.source = estimated ? usage_source::estimated
                    : whole   ? usage_source::upstream
                              : usage_source::partial;
    return so_far;
}

void take_progress(request_ctx& ctx)
{
    const usage_so_far so_far = reckon(ctx);
    ctx.account.used = so_far.tokens;
    ctx.account.progress_source = so_far.source;
}

void forget_progress(request_ctx& ctx)
{
    ctx.account.progress_source = usage_source::none;
}

namespace {

void take_all(ngx_http_request_t* r, request_ctx& ctx)
{
    // Of a reply that is complete the last progress is all.
    if (ctx.reply.reading && ctx.reply.complete && ctx.usage.known()
        && ctx.account.progress_source != usage_source::none) {
        ctx.account.source = ctx.account.progress_source;
        warn_of_counts(r, ctx);
        return;
    }
    ctx.account.used = {};
    if (!ctx.reply.reading) {
        if (has_prompt(ctx) && (ctx.reply.compressed || left_unanswered(r))) {
            take_estimate(ctx, ctx.reply.compressed ? usual_completion(ctx) : 0);
        }
        return;
    }
    if (!ctx.reply.complete) {
        ctx.usage.finish();
    }
    if (!is_charged(r, ctx)) {
        return;
    }
    const bool known = ctx.usage.known();
    if (!known && hides_generation(r, ctx)) {
        warn_of_unread(r);
        take_estimate(ctx, token_ratios().text_tokens({ctx.usage.json_bytes(), 0}));
        return;
    }
    if (!known && ctx.reply.complete && ctx.usage.told_nothing()) {
        ctx.account.source = usage_source::upstream;
        return;
    }
    if (!known
        && (take_headers(r, ctx) || !(has_prompt(ctx) || shows_text(ctx)) || !ctx.call.generates
            || !has_worked(ctx))) {
        return;
    }
    const usage_so_far all = reckon(ctx);
    ctx.account.used = all.tokens;
    ctx.account.source = all.source;
    if (known) {
        warn_of_counts(r, ctx);
    }
}

} // namespace

void account(ngx_http_request_t* r, request_ctx& ctx)
{
    take_all(r, ctx);
    ctx.account.cost = weighted(ctx.account.used, ctx.held->weights);
}

void learn_from(const request_ctx& ctx)
{
    if (ctx.account.source != usage_source::upstream || !ctx.reply.complete
        || ctx.end.is == outcome::upstream_error || ctx.end.is == outcome::cut) {
        return;
    }
    // Reasoning that was not shown makes the rest look as if it had more tokens than it has.
    const bool hides = ctx.account.used.reasoning != 0 && !ctx.usage.showed_reasoning();
    learned_of(ctx).learn(view(ctx.names.key), ctx.counted_model(), ctx.asked.size,
                          {.prompt_tokens = ctx.account.used.prompt,
                           .completion_tokens = ctx.account.used.completion,
                           .text_bytes = hides ? 0 : ctx.usage.shown_text().bytes});
}

} // namespace llm
