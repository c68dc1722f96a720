#include "limit_headers.h"

#include "clock.h"
#include "headers_in.h"

#include "core/limit_text.h"

#include <algorithm>

namespace llm {

namespace {

// "never" is shown as a long time.
constexpr uint64_t longest_reset_ms = uint64_t{365} * 86400 * 1000;

ngx_str_t number_text(ngx_pool_t* pool, uint64_t number)
{
    auto* text = static_cast<u_char*>(ngx_pnalloc(pool, NGX_INT64_LEN));
    return {text ? static_cast<size_t>(ngx_sprintf(text, "%uL", number) - text) : 0, text};
}

struct group_names {
    std::string_view limit, remaining, reset;
};

constexpr group_names openai_requests = {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
                                         "x-ratelimit-reset-requests"};
constexpr group_names openai_tokens = {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
                                       "x-ratelimit-reset-tokens"};
constexpr group_names anthropic_requests = {"anthropic-ratelimit-requests-limit",
                                            "anthropic-ratelimit-requests-remaining",
                                            "anthropic-ratelimit-requests-reset"};
constexpr group_names anthropic_tokens = {"anthropic-ratelimit-tokens-limit",
                                          "anthropic-ratelimit-tokens-remaining",
                                          "anthropic-ratelimit-tokens-reset"};

// /v1/messages, and what lies below it.
bool is_anthropic(ngx_http_request_t* r)
{
    std::string_view path = view(r->uri);
    constexpr std::string_view messages = "/messages";
    size_t at = path.find(messages);
    return at != std::string_view::npos
           && (at + messages.size() == path.size() || path[at + messages.size()] == '/');
}

bool add_group(ngx_http_request_t* r, const group_names& names, uint64_t limit, uint64_t remaining,
               uint64_t reset_ms, bool as_time)
{
    reset_ms = std::min(reset_ms, longest_reset_ms);
    char text[limit_text_bytes];
    std::string_view reset = as_time ? write_time(wall_clock_ms() + static_cast<int64_t>(reset_ms), text)
                                     : write_duration(reset_ms, text);
    ngx_str_t values[3] = {number_text(r->pool, limit), number_text(r->pool, remaining),
                           copy_text(r->pool, reset)};
    return values[0].data && values[1].data && values[2].data && add_header_out(r, names.limit, values[0])
           && add_header_out(r, names.remaining, values[1]) && add_header_out(r, names.reset, values[2]);
}

// What the upstream says of its limits is not about the client's.
void drop_upstreams(ngx_http_request_t* r)
{
    for (ngx_list_part_t* part = &r->headers_out.headers.part; part; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            std::string_view name = view(headers[i].key);
            for (std::string_view prefix : {"x-ratelimit-", "anthropic-ratelimit-"}) {
                if (same_without_case(name.substr(0, prefix.size()), prefix)) {
                    headers[i].hash = 0;
                }
            }
        }
    }
}

} // namespace

bool add_header_out(ngx_http_request_t* r, std::string_view name, ngx_str_t value)
{
    auto* h = static_cast<ngx_table_elt_t*>(ngx_list_push(&r->headers_out.headers));
    if (!h) {
        return false;
    }
    h->hash = 1;
    h->key = to_ngx(name);
    h->value = value;
    return true;
}

bool add_limit_headers(ngx_http_request_t* r, const limit_report& report)
{
    if (!report.has_requests && !report.has_tokens) {
        return true;
    }
    drop_upstreams(r);
    bool anthropic = is_anthropic(r);
    return (!report.has_requests
            || add_group(r, anthropic ? anthropic_requests : openai_requests, report.requests_limit,
                         report.requests_remaining, report.requests_reset_ms, anthropic))
           && (!report.has_tokens
               || add_group(r, anthropic ? anthropic_tokens : openai_tokens, report.tokens_limit,
                            report.tokens_remaining, report.tokens_reset_ms, anthropic));
}

bool add_retry_headers(ngx_http_request_t* r, const refusal_answer& answer, uint64_t wait_ms)
{
    if (answer.give_up && !add_header_out(r, "x-should-retry", to_ngx("false"))) {
        return false;
    }
    if (wait_ms == 0 || wait_ms > longest_wait_ms) {
        wait_ms = uint64_t{answer.retry_after} * 1000;
    }
    if (wait_ms == 0 || answer.give_up) {
        return true;
    }
    ngx_str_t seconds = number_text(r->pool, (wait_ms + 999) / 1000);
    ngx_str_t milliseconds = number_text(r->pool, wait_ms);
    return seconds.data && milliseconds.data && add_header_out(r, "Retry-After", seconds)
           && add_header_out(r, "retry-after-ms", milliseconds);
}

} // namespace llm
