// The rules of a location, and which of them are in force for a request.
#pragma once

#include "gcra.h"
#include "lease_table.h"
#include "limits.h"
#include "subject_table.h"

#include <algorithm>
#include <cstdint>
#include <span>

namespace llm {

// One llm_limit of a location. What a key's own limits (its plan's included) say goes over the rules with the
// scope `key`, field by field; those are always in force, and hard where any such rule is.
struct limit_rule {
    subject_kind scope = subject_kind::key; // key..zone
    limits what;                            // `failures` is for addresses whatever the scope
    bool dry_run = false;                   // decides and counts, and lets through
    bool hard = false;                      // a running stream ends when the quota is used up
};

inline gcra shape_of_requests(const limits& l)
{
    return gcra::of(l.requests, add_up(1, static_cast<uint64_t>(std::max<int64_t>(l.burst, 0))));
}

inline gcra shape_of_tokens(const limits& l)
{
    return gcra::of(l.tokens, l.token_burst >= 0 ? static_cast<uint64_t>(l.token_burst) : l.tokens.amount);
}

// The part of a location's rule for keys that a key's own limits leave in force. Own limits that lack a burst
// get the rule's.
inline limits under(limits& own, limits rule)
{
    if (own.burst >= 0) {
        rule.burst = own.burst;
    } else if (own.requests.amount) {
        own.burst = rule.burst;
    }
    if (own.token_burst >= 0) {
        rule.token_burst = own.token_burst;
    } else if (own.tokens.amount) {
        own.token_burst = rule.token_burst;
    }
    if (own.requests.amount) {
        rule.requests = {};
    }
    if (own.tokens.amount) {
        rule.tokens = {};
    }
    if (own.concurrency >= 0) {
        rule.concurrency = -1;
    }
    if (own.window != quota_window::none) {
        rule.window = quota_window::none;
    }
    return rule;
}

// Calls f(place, rule) for each rule in force for the subjects whose places are set in `places`. `key_limits`
// is nullptr where the key has none of its own.
template <class F>
void each_rule(std::span<const limit_rule> rules, const limits* key_limits, uint8_t places, F&& f)
{
    auto is_asked = [places](const limit_rule& rule) {
        size_t place = place_of(rule.scope);
        return place < max_scopes && (places >> place & 1);
    };
    if (!key_limits) {
        for (const limit_rule& rule : rules) {
            if (is_asked(rule)) {
                f(place_of(rule.scope), rule);
            }
        }
        return;
    }
    limit_rule own;
    own.what = *key_limits;
    for (const limit_rule& rule : rules) {
        if (!is_asked(rule)) {
            continue;
        }
        if (rule.scope == subject_kind::key) {
            f(place_of(rule.scope),
              limit_rule{rule.scope, under(own.what, rule.what), rule.dry_run, rule.hard});
            own.hard |= rule.hard && !rule.dry_run;
        } else {
            f(place_of(rule.scope), rule);
        }
    }
    f(place_of(subject_kind::key), own);
}

} // namespace llm
