// The $llm_* variables. What is not known (yet) is "not found", as with nginx's own.

#include "variables.h"

#include "credentials.h"
#include "model_edit.h"
#include "reply_cut.h"
#include "request.h"

#include "core/base/chars.h"
#include "core/base/number_text.h"

#include <algorithm>

namespace llm {

namespace {

using value = ngx_http_variable_value_t;

ngx_int_t say(value* v, std::string_view text)
{
    // All of its bits at once.
    *v = {.len = static_cast<unsigned>(text.size()) & 0xfffffff,
          .valid = 1,
          .no_cacheable = 0,
          .not_found = 0,
          .escape = v->escape,
          .data = reinterpret_cast<u_char*>(const_cast<char*>(text.data()))};
    return NGX_OK;
}

ngx_int_t say_nothing(value* v)
{
    v->not_found = 1;
    return NGX_OK;
}

ngx_int_t say_known(value* v, const ngx_str_t& text)
{
    return text.len ? say(v, view(text)) : say_nothing(v);
}

ngx_int_t say_number(ngx_http_request_t* r, value* v, uint64_t number)
{
    auto* text = static_cast<char*>(ngx_pnalloc(r->pool, NGX_INT64_LEN));
    if (!text) {
        return NGX_ERROR;
    }
    return say(v, {text, static_cast<size_t>(put_number(text, number) - text)});
}

ngx_int_t say_seconds(ngx_http_request_t* r, value* v, ngx_msec_int_t ms)
{
    auto* text = static_cast<char*>(ngx_pnalloc(r->pool, NGX_INT64_LEN + 4));
    if (!text) {
        return NGX_ERROR;
    }
    auto part = static_cast<unsigned>(ms % 1000);
    char* end = put_number(text, static_cast<uint64_t>(ms / 1000));
    *end++ = '.';
    for (unsigned digit : {part / 100, part / 10 % 10, part % 10}) {
        *end++ = static_cast<char>('0' + digit);
    }
    return say(v, {text, static_cast<size_t>(end - text)});
}

enum which : uintptr_t {
    key,
    user,
    plan,
    model,
    prompt_hash_value,
    stream,
    prompt_tokens,
    completion_tokens,
    total_tokens,
    cached_tokens,
    cache_write_tokens,
    reasoning_tokens,
    cost,
    source,
    ended,
    refused,
    time_to_first_token,
    tokens_per_second,
    upstream_name,
    upstream_group
};

struct entry {
    ngx_str_t name;
    which data;
};

// In the order of `which`.
const entry entries[] = {
    {ngx_string("llm_key"), key},
    {ngx_string("llm_user"), user},
    {ngx_string("llm_plan"), plan},
    {ngx_string("llm_model"), model},
    {ngx_string("llm_prompt_hash"), prompt_hash_value},
    {ngx_string("llm_stream"), stream},
    {ngx_string("llm_prompt_tokens"), prompt_tokens},
    {ngx_string("llm_completion_tokens"), completion_tokens},
    {ngx_string("llm_total_tokens"), total_tokens},
    {ngx_string("llm_cached_tokens"), cached_tokens},
    {ngx_string("llm_cache_write_tokens"), cache_write_tokens},
    {ngx_string("llm_reasoning_tokens"), reasoning_tokens},
    {ngx_string("llm_cost"), cost},
    {ngx_string("llm_usage_source"), source},
    {ngx_string("llm_outcome"), ended},
    {ngx_string("llm_refusal"), refused},
    {ngx_string("llm_time_to_first_token"), time_to_first_token},
    {ngx_string("llm_tokens_per_second"), tokens_per_second},
    {ngx_string("llm_upstream_model"), upstream_name},
    {ngx_string("llm_upstream"), upstream_group},
};

ngx_int_t say_tokens(ngx_http_request_t* r, value* v, const request_ctx& ctx, uint64_t tokens)
{
    return ctx.account.source == usage_source::none ? say_nothing(v) : say_number(r, v, tokens);
}

outcome outcome_of(const request_ctx& ctx)
{
    return ctx.end.is != outcome::unknown ? ctx.end.is
           : ctx.refused != refusal::none ? outcome::refused
                                          : outcome::unknown;
}

bool is_over(const request_ctx& ctx)
{
    return !ctx.holds_lease() && outcome_of(ctx) != outcome::unknown;
}

ngx_int_t say_refusal(ngx_http_request_t* r, value* v, const request_ctx& ctx)
{
    const refusal why = stands_refused(r->main, ctx) ? ctx.refused : ctx.end.by;
    return why != refusal::none ? say(v, answer_of(why).reason) : say_nothing(v);
}

ngx_int_t say_hash(ngx_http_request_t* r, value* v, const request_ctx& ctx)
{
    const prompt_hash* prompt = ctx.asked.prompt;
    if (!prompt || !prompt->any() || !ctx.knows_body() || ctx.asked.fault != body_fault::none) {
        return say_nothing(v);
    }
    constexpr size_t digits = 16;
    auto* text = static_cast<char*>(ngx_pnalloc(r->pool, digits));
    if (!text) {
        return NGX_ERROR;
    }
    const uint64_t hash = prompt->value(short_model_name(view(ctx.asked.model)));
    for (size_t i = 0; i < digits; i++) {
        text[i] = hex_digits[hash >> (60 - 4 * i) & 15];
    }
    return say(v, {text, digits});
}

// Of a stream whose tokens the upstream has counted, from its first content on.
ngx_int_t say_speed(ngx_http_request_t* r, value* v, const request_ctx& ctx)
{
    bool counted = is_over(ctx) && ctx.reply.reading && ctx.reply.first_content_ms >= 0
                   && ctx.usage.form() != reply_form::json && ctx.usage.known()
                   && (ctx.account.source != usage_source::estimated || ctx.usage.final());
    ngx_msec_int_t ms = counted ? ctx.end.ms - ctx.reply.first_content_ms : 0;
    if (ms <= 0) {
        return say_nothing(v);
    }
    auto* text = static_cast<char*>(ngx_pnalloc(r->pool, NGX_INT64_LEN + 2));
    if (!text) {
        return NGX_ERROR;
    }
    uint64_t tenths =
        (ctx.account.used.completion * 10000 + static_cast<uint64_t>(ms) / 2) / static_cast<uint64_t>(ms);
    char* end = put_number(text, tenths / 10);
    *end++ = '.';
    *end++ = static_cast<char>('0' + tenths % 10);
    return say(v, {text, static_cast<size_t>(end - text)});
}

// By the row of the table of models. It may hang on what is known by now only, such as the key.
ngx_int_t say_upstream(ngx_http_request_t* r, value* v, const request_ctx& ctx)
{
    const ngx_http_complex_value_t* to = ctx.routed.row ? ctx.routed.level->to_of(*ctx.routed.row) : nullptr;
    ngx_str_t text;
    if (!to) {
        return say_nothing(v);
    }
    if (ngx_http_complex_value(r, const_cast<ngx_http_complex_value_t*>(to), &text) != NGX_OK) {
        return NGX_ERROR;
    }
    return say(v, view(text));
}

// nginx runs rewrites, limit_req and limit_conn before the access phase, and keeps what a `set` has seen
// then.
bool is_too_early(ngx_http_request_t* r)
{
    return r->headers_out.status == 0 && r->err_status == 0 && !r->logged && may_need_key(r);
}

// Once in each worker for each variable.
void tell_early(ngx_http_request_t* r, which variable)
{
    uint32_t& told = main_conf_of(r)->told_early;
    if (told >> variable & 1) {
        return;
    }
    told |= 1u << variable;
    ngx_log_error(
        NGX_LOG_WARN, r->connection->log, 0,
        "llm: \"$%V\" was asked for before the key is checked and is empty then: directives such as "
        "\"if\", \"set\" and \"limit_req\" come too early for it, also by a \"map\"",
        &entries[variable].name);
}

// One function for all, which are mostly asked for one after the other.
ngx_int_t get(ngx_http_request_t* r, value* v, uintptr_t data)
{
    request_ctx* ctx = find_request(r);
    if (!ctx) {
        if (is_too_early(r->main)) {
            tell_early(r, static_cast<which>(data));
        }
        return say_nothing(v);
    }
    switch (static_cast<which>(data)) {
    case key:
        return say_known(v, ctx->names.key);
    case user:
        return say_known(v, ctx->names.user);
    case plan:
        return say_known(v, ctx->names.plan);
    case model:
        return say_known(v, ctx->asked.model);
    case prompt_hash_value:
        return say_hash(r, v, *ctx);
    case stream:
        return ctx->knows_body() ? say(v, ctx->asked.stream ? "1" : "0") : say_nothing(v);
    case prompt_tokens:
        return say_tokens(r, v, *ctx, ctx->account.used.prompt);
    case completion_tokens:
        return say_tokens(r, v, *ctx, ctx->account.used.completion);
    case total_tokens:
        return say_tokens(r, v, *ctx, ctx->account.used.prompt + ctx->account.used.completion);
    case cached_tokens:
        return say_tokens(r, v, *ctx, ctx->account.used.cached);
    case cache_write_tokens:
        return say_tokens(r, v, *ctx, ctx->account.used.cache_write);
    case reasoning_tokens:
        return say_tokens(r, v, *ctx, ctx->account.used.reasoning);
    case cost:
        return is_over(*ctx) ? say_tokens(r, v, *ctx, ctx->account.cost) : say_nothing(v);
    case source:
        return is_over(*ctx) && ctx->decided.admitted_by ? say(v, usage_source_name(ctx->account.source))
                                                         : say_nothing(v);
    case ended:
        if (!is_over(*ctx) || (ctx->end.is == outcome::unknown && !stands_refused(r->main, *ctx))) {
            return say_nothing(v);
        }
        return say(v, outcome_name(outcome_of(*ctx)));
    case refused:
        if (ctx->cut.done) {
            return say(v, answer_of(refusal_of_cut(*ctx)).reason);
        }
        return say_refusal(r, v, *ctx);
    case time_to_first_token:
        return ctx->reply.first_content_ms >= 0 ? say_seconds(r, v, ctx->reply.first_content_ms)
                                                : say_nothing(v);
    case tokens_per_second:
        return say_speed(r, v, *ctx);
    case upstream_name:
        return ctx->knows_body() ? say_known(v, upstream_model(*ctx)) : say_nothing(v);
    case upstream_group:
        return say_upstream(r, v, *ctx);
    }
    return say_nothing(v);
}

struct key_header {
    ngx_str_t variable;
    std::string_view header;
};

// Known to nginx by their prefix: an exact name goes before it.
const key_header key_headers[] = {
    {ngx_string("http_authorization"), "authorization"},
    {ngx_string("http_x_api_key"), "x-api-key"},
    {ngx_string("http_api_key"), "api-key"},
    {ngx_string("http_x_goog_api_key"), "x-goog-api-key"},
};

} // namespace

ngx_int_t add_variables(ngx_conf_t* cf)
{
    for (const entry& e : entries) {
        ngx_str_t name = e.name;
        // Values change while the request runs: what `map` saw early must not stand in the log.
        ngx_http_variable_t* var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (!var) {
            return NGX_ERROR;
        }
        var->get_handler = get;
        var->data = e.data;
    }
    for (const key_header& h : key_headers) {
        ngx_str_t name = h.variable;
        ngx_http_variable_t* var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (!var) {
            return NGX_ERROR;
        }
        var->get_handler = key_header_variable;
        var->data = reinterpret_cast<uintptr_t>(&h.header);
    }
    return NGX_OK;
}

bool names_prompt_hash(ngx_conf_t* cf)
{
    const auto& core = *static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    const std::span named(static_cast<const ngx_http_variable_t*>(core.variables.elts), core.variables.nelts);
    return std::any_of(named.begin(), named.end(),
                       [](const ngx_http_variable_t& v) { return view(v.name) == "llm_prompt_hash"; });
}

} // namespace llm
