// The rules of a location, and which of them are in force for a request.
#pragma once

#include "gcra.h"
#include "limits.h"
#include "scope.h"

#include <algorithm>
#include <cstdint>
#include <span>

namespace llm {

// What can be had at once. Where no burst is given it is what one period brings.
inline gcra shape_of_requests(const limits& l)
{
    return gcra::of(l.requests, l.burst >= 0 ? add_up(1, static_cast<uint64_t>(l.burst)) : l.requests.amount);
}

inline gcra shape_of_tokens(const limits& l)
{
    return gcra::of(l.tokens, l.token_burst >= 0 ? static_cast<uint64_t>(l.token_burst) : l.tokens.amount);
}

inline gcra shape_of_failures(const limits& l)
{
    return gcra::of(l.failures, l.failures.amount);
}

// One llm_limit of a location. What a key's own limits (its plan's included) say goes over the rules with the
// scope `key`, field by field; those are always in force, and hard where any such rule is.
//
// Never changed once it is made, so that what is made of its limits agrees with them.
class limit_rule {
public:
    // `scope` is one of key..zone; what.failures are for addresses whatever it is.
    limit_rule(subject_kind scope, const limits& what, bool dry_run = false, bool hard = false)
        : requests_(shape_of_requests(what)), tokens_(shape_of_tokens(what)), what_(what), scope_(scope),
          place_(static_cast<uint8_t>(place_of(scope))), dry_run_(dry_run), hard_(hard)
    {
        if (place_ < max_scopes) {
            place_bit_ = static_cast<uint8_t>(1u << place_);
            rated_bit_ = requests_.limits() || tokens_.limits() ? place_bit_ : 0;
        }
    }

    subject_kind scope() const { return scope_; }
    size_t place() const { return place_; }
    uint8_t place_bit() const { return place_bit_; }
    // The same, if it limits a rate; else 0.
    uint8_t rated_bit() const { return rated_bit_; }
    const limits& what() const { return what_; }
    const gcra& requests() const { return requests_; }
    const gcra& tokens() const { return tokens_; }
    bool dry_run() const { return dry_run_; } // decides and counts, and lets through
    bool hard() const { return hard_; }       // a running stream ends when the quota is used up

private:
    gcra requests_;
    gcra tokens_;
    limits what_;
    subject_kind scope_;
    uint8_t place_;
    uint8_t place_bit_ = 0;
    uint8_t rated_bit_ = 0;
    bool dry_run_;
    bool hard_;
};

// A key's own limits over the rules of a location.
class own_limits {
public:
    own_limits(const limits& own, std::span<const limit_rule> rules);

    // In force for the key whatever its location says.
    const limit_rule& rule() const { return rule_; }
    // What they leave in force of a rule for keys, until the next call.
    const limit_rule& left_of(const limit_rule& rule);

private:
    limit_rule rule_;
    limit_rule left_;
    const limit_rule* left_of_ = nullptr; // there is mostly one, and it is asked for twice
};

// Calls f(rule) for each rule in force for the subjects whose places are set in `places`, the key's among
// them. `own` is nullptr where the key has no limits of its own.
template <class F>
void each_rule(std::span<const limit_rule> rules, own_limits* own, uint8_t places, F&& f)
{
    // f is called in one place, so that it becomes part of the loop.
    const limit_rule* next = rules.data();
    const limit_rule* const end = next + rules.size();
    for (;;) {
        const limit_rule* rule = next;
        if (next == end) {
            if (!own) {
                return;
            }
            rule = &own->rule();
            own = nullptr;
        } else {
            next++;
            if (!(rule->place_bit() & places)) {
                continue;
            }
            if (own && rule->scope() == subject_kind::key) {
                rule = &own->left_of(*rule);
            }
        }
        f(*rule);
    }
}

} // namespace llm
