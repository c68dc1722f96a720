// What the gateway says when it does not let a request in: status, headers, and what its body says. How the
// body is written: error_body.h.
#pragma once

#include "core/limit/limit_refusal.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

enum class refusal : uint8_t {
    none,
    no_key,      // none was sent, or none that can be read
    invalid_key, // nobody's
    blocked,     // by an operator
    disabled,
    expired,
    network,              // the client's address is not among the key's networks
    not_admin,            // not a key for llm_admin
    model,                // not among the key's models
    no_model,             // none is named, and the key may use certain models only
    other_model,          // the same, and others are named beside the model, or may be read
    hidden_model,         // the same, and requests within this one may name others
    missing_model,        // none is named, and the location has a table of models
    unclear_model,        // the same, and others are named beside the model, or may be read
    hidden_models,        // the same, and requests within this one may name others
    bad_request,          // the body may be read in more than one way
    bad_path,             // the path has control characters
    bad_user,             // the header that names the user (user_from) does not do so
    unsupported_encoding, // the body is compressed
    websocket,            // a WebSocket, in which nothing could be counted
    requests,             // a rate of requests
    tokens,               // a rate of tokens
    requests_long,        // the same, for longer than a client should wait
    tokens_long,
    concurrency,    // too many requests in flight
    quota,          // spent
    quota_reserved, // what is left of it is reserved for requests that run
    failures,       // too many wrong keys from the client's address
    failures_long,  // the same, for longer than a client should wait
    zone_full,      // no room for a lease or a counter
    reloading,      // this worker's key file is not in force any more: an old worker, for a moment
    internal,       // a fault in the gateway itself
    revoked,        // let in, but its key is not good any more
    stopped,        // let in, but an operator has ended it
};

struct refusal_answer {
    uint16_t status;         // HTTP
    std::string_view reason; // the value of $llm_refusal
    std::string_view type;   // OpenAI's error.type
    std::string_view code;   // OpenAI's error.code; empty = null
    // The inside of a JSON string. The detail's place is marked by "%": the model's name for refusal::model,
    // what is wrong with the body for refusal::bad_request, a limit's text for those of limits.
    std::string_view message;
    bool authenticate;    // WWW-Authenticate: Bearer
    uint8_t retry_after;  // seconds, 0 = no header, or by how long a limit lasts
    bool give_up = false; // x-should-retry: false
};

// A client may be told to wait so long, and no longer: above it SDKs ignore Retry-After, or sleep for all of
// it.
inline constexpr uint64_t longest_wait_ms = 60000;

// The refusal for a limit. `scope` is for its message.
refusal refusal_of(const limit_refusal& by);
// The message's detail of such a refusal: which limit, whose, and when to try again, of a rate also if that
// is long. At most limit_detail_bytes.
inline constexpr size_t limit_detail_bytes = 160;
std::string_view write_limit_detail(const limit_refusal& by, char* out);

const refusal_answer& answer_of(refusal why);

// Some refusals have a reason in common. All reasons of requests that are not let in, in an order that stays,
// for counters of them.
inline constexpr size_t refusal_reasons = 18;
// The place of a refusal's reason there; not of refusal::none, nor of one that was let in.
size_t reason_index(refusal why);
std::string_view reason_name(size_t index);

} // namespace llm
