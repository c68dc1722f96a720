#include "refusal.h"

#include "core/base/number_text.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace llm {

namespace {

// Statuses, types and codes are those of OpenAI's API where it has the case, since SDKs branch on them.
// Messages of 401 do not repeat the key, and nothing here has a word that makes a client take a short refusal
// for a spent quota. Agents try a wrong key for minutes if nothing tells them to give up. Where it is not
// known when to try again nothing is said of it: clients then wait longer each time.
constexpr refusal_answer answers[] = {
    {200, "", "", "", "", false, 0},
    {401, "no_key", "invalid_request_error", "",
     "You didn't provide an API key. Send it as \\\"Authorization: Bearer YOUR_KEY\\\".", true, 0, true},
    {401, "invalid_key", "invalid_request_error", "invalid_api_key", "Incorrect API key provided.", true, 0,
     true},
    {401, "blocked", "invalid_request_error", "invalid_api_key", "This API key has been blocked.", true, 0,
     true},
    {401, "disabled", "invalid_request_error", "invalid_api_key", "This API key has been disabled.", true, 0,
     true},
    {401, "expired", "invalid_request_error", "invalid_api_key", "This API key has expired.", true, 0, true},
    {401, "network", "invalid_request_error", "invalid_api_key",
     "This API key may not be used from your network address.", true, 0, true},
    {403, "not_admin", "invalid_request_error", "", "This API key may not do this.", false, 0, true},
    {404, "model", "invalid_request_error", "model_not_found",
     "The model `%` does not exist or you do not have access to it.", false, 0},
    {404, "model", "invalid_request_error", "model_not_found",
     "You must name a model: your API key may use certain models only.", false, 0},
    {404, "model", "invalid_request_error", "model_not_found",
     "Your API key may use certain models only: this request names others too, or not clearly which one.",
     false, 0},
    {404, "model", "invalid_request_error", "model_not_found",
     "Your API key may use certain models only: those of the requests within this one cannot be checked.",
     false, 0},
    {400, "model", "invalid_request_error", "", "You must provide a model parameter.", false, 0},
    {400, "model", "invalid_request_error", "",
     "This request names several models that go to different places, or not clearly which one.", false, 0},
    {400, "model", "invalid_request_error", "",
     "Models are chosen by their names here: those of the requests within this one cannot be looked up.",
     false, 0},
    {400, "bad_request", "invalid_request_error", "", "The request body cannot be accepted: %.", false, 0},
    {400, "bad_request", "invalid_request_error", "",
     "The request's path has control characters, or can be read in more than one way.", false, 0},
    {400, "bad_request", "invalid_request_error", "", "The header that names the user cannot be accepted: %.",
     false, 0},
    {415, "bad_request", "invalid_request_error", "",
     "Compressed request bodies are not accepted: send the body without Content-Encoding.", false, 0},
    {426, "websocket", "invalid_request_error", "",
     "WebSocket connections are not accepted here. Send the request over HTTP.", false, 0, true},
    {429, "requests", "requests", "rate_limit_exceeded", "Rate limit reached for requests: %.", false, 0},
    {429, "tokens", "tokens", "rate_limit_exceeded", "Rate limit reached for tokens: %.", false, 0},
    // A rate, which clients would try again too often: by type and code, which are those of a spent quota,
    // they give up. The words are for people, and say what it is.
    {429, "requests", "insufficient_quota", "insufficient_quota", "Rate limit reached for requests: %.",
     false, 0, true},
    {429, "tokens", "insufficient_quota", "insufficient_quota", "Rate limit reached for tokens: %.", false, 0,
     true},
    {429, "concurrency", "requests", "rate_limit_exceeded", "Rate limit reached for requests in flight: %.",
     false, 1},
    {429, "quota", "insufficient_quota", "insufficient_quota", "You exceeded your current quota: %.", false,
     0, true},
    {429, "quota", "tokens", "rate_limit_exceeded",
     "Rate limit reached for tokens, which requests in flight may use up: %.", false, 1},
    {429, "failures", "requests", "rate_limit_exceeded", "Too many wrong API keys from your address: %.",
     false, 0},
    {429, "failures", "insufficient_quota", "insufficient_quota",
     "Too many wrong API keys from your address: %.", false, 0, true},
    {503, "zone_full", "server_error", "", "The gateway has no room for another request. Please try again.",
     false, 0},
    {503, "reloading", "server_error", "", "The gateway is being reconfigured. Please try again.", false, 0},
    {500, "internal", "server_error", "", "The gateway could not handle this request.", false, 0},
    {401, "revoked", "invalid_request_error", "invalid_api_key",
     "This API key is no longer valid: it was disabled or removed, or has expired.", true, 0, true},
    {403, "stopped", "invalid_request_error", "", "This request was stopped by the gateway's operator.",
     false, 0, true},
};

// Requests that were let in are counted by what became of them.
constexpr auto first_let_in = static_cast<size_t>(refusal::revoked);

struct reason_table {
    std::array<std::string_view, refusal_reasons> names;
    std::array<uint8_t, first_let_in> place_of;
};

constexpr reason_table reasons = [] {
    reason_table table{};
    size_t n = 0;
    for (size_t why = 1; why < first_let_in; why++) {
        size_t at = 0;
        while (at < n && table.names[at] != answers[why].reason) {
            at++;
        }
        if (at == n) {
            // Beyond the end of the table: no constant expression, if there are more.
            table.names[n++] = answers[why].reason;
        }
        table.place_of[why] = static_cast<uint8_t>(at);
    }
    return table;
}();
static_assert(!reasons.names.back().empty());

char* put(char* out, std::string_view text)
{
    return out + text.copy(out, text.size());
}

} // namespace

refusal refusal_of(const limit_refusal& by)
{
    switch (by.kind) {
    case limit_kind::requests:
        return by.wait_ms > longest_wait_ms ? refusal::requests_long : refusal::requests;
    case limit_kind::tokens:
        return by.wait_ms > longest_wait_ms ? refusal::tokens_long : refusal::tokens;
    case limit_kind::concurrency:
        return refusal::concurrency;
    case limit_kind::quota:
        return by.wait_ms == limit_refusal::wait_unknown ? refusal::quota_reserved : refusal::quota;
    case limit_kind::failures:
        return by.wait_ms > longest_wait_ms ? refusal::failures_long : refusal::failures;
    case limit_kind::none:
        break;
    }
    return refusal::internal;
}

namespace {

std::string_view name_of_period(uint64_t ms)
{
    switch (ms) {
    case 1000:
        return "second";
    case 60000:
        return "minute";
    case 3600000:
        return "hour";
    case 86400000:
        return "day";
    default:
        return {};
    }
}

} // namespace

std::string_view write_limit_detail(const limit_refusal& by, char* out)
{
    static constexpr std::string_view whose[] = {"", "key", "user", "model", "address", "gateway", "address"};
    char* p = put(out, "limit ");
    p = put_number(p, by.limit);
    if (const std::string_view period = name_of_period(by.period_ms); !period.empty()) {
        p = put(p, " per ");
        p = put(p, period);
    }
    p = put(p, " for this ");
    p = put(p, whose[static_cast<size_t>(by.scope)]);
    const bool is_rate = by.period_ms != 0 && by.wait_ms != limit_refusal::wait_never;
    if (is_rate || by.wait_ms <= longest_wait_ms) {
        // One unit only: LangChain's client cannot read two.
        p = put(p, ". Please try again in ");
        p = put_number(p, std::max<uint64_t>((by.wait_ms + 999) / 1000, 1));
        p = put(p, "s");
    }
    return {out, static_cast<size_t>(p - out)};
}

const refusal_answer& answer_of(refusal why)
{
    return answers[static_cast<size_t>(why)];
}

size_t reason_index(refusal why)
{
    return reasons.place_of[static_cast<size_t>(why)];
}

std::string_view reason_name(size_t index)
{
    return reasons.names[index];
}

} // namespace llm
