// What a request brings to be let in, and what it is told.
#pragma once

#include "core/base/digest.h"
#include "core/limit/limit_refusal.h"
#include "core/limit/limit_rules.h"
#include "key_table.h"
#include "lease_table.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// What a request brings to be let in.
struct admission_request {
    uint64_t file; // name_hash() of its key file's path
    digest key;
    std::span<const uint8_t> address; // 4 or 16 bytes, or none
    bool asks_model;                  // it has a body, and so is for a model, named or not
    bool named_model;
    std::string_view model; // under which it is counted and limited
    bool stream;
    uint32_t owner;
    int64_t now_ms;      // wall clock, since 1970
    uint64_t now_ns = 0; // monotonic clock
    std::span<const limit_rule> rules = {};
    uint64_t estimate = 0; // tokens that it will likely use, weighted
    usage_weights weights = {};
    // For a key that may use certain models only:
    bool needs_model = false;          // one has to be named
    bool unclear_model = false;        // servers may read another model in it than is told here
    std::string_view more_models = {}; // which the server may turn to as well; each with a NUL behind it

    // By which a key's list lets it pass, if that is another name than `model`.
    std::string_view asked_model = {};
    uint32_t most_tokens = 0; // that the model generates for one choice; 0: not known
    // Of a key with `user_from`: the header of that name was looked for, and this is what it says; empty: the
    // user is the key's own.
    std::string_view user_from = {};
    std::string_view user = {};

    // What admission::prepare() adds.
    bool prepared = false;
    uint8_t scopes = 0;      // of `rules`: bits
    uint64_t model_hash = 0; // of the names of these subjects, where there are such rules
    uint64_t address_hash = 0;

    moment now() const { return {now_ns, now_ms}; }
};

// The tightest of the rates in force (dry runs apart) with the decision carried out: for requests, and for
// tokens, where quotas count too. A limit is what can be had at once.
struct limit_report {
    bool has_requests = false;
    bool has_tokens = false;
    uint64_t requests_limit = 0;
    uint64_t requests_remaining = 0;
    uint64_t requests_reset_ms = 0; // until all of the limit is there again; UINT64_MAX = never
    uint64_t tokens_limit = 0;
    uint64_t tokens_remaining = 0;
    uint64_t tokens_reset_ms = 0;
};

// A bit of admission_result::dry_run_refusals.
inline constexpr uint64_t dry_run_bit(limit_kind kind, subject_kind scope)
{
    return uint64_t{1} << (static_cast<unsigned>(kind) * 8 + static_cast<unsigned>(scope));
}

struct admission_result {
    verdict said;
    lease* taken = nullptr; // where it is ok
    limit_refusal refused_by = {};
    uint64_t dry_run_refusals = 0;
    limit_report report = {}; // where it is ok or limited by other than failures
    // Tokens that hard quotas left it, however much was reserved: when it has used these it is to be
    // extended.
    uint64_t hard_left = UINT64_MAX;
    // Its model or its address has no record of its own: the key has too many of them, or there is no room.
    bool shares = false;
    bool tell_shares = false; // and it is time to log that
};

struct extension_result {
    bool exceeded = false; // any limit, dry runs apart
    bool cut = false;      // a hard quota is used up: the stream is to end
    limit_refusal refused_by = {};
    uint64_t dry_run_refusals = 0;
};

} // namespace llm
