// How a key stands under the limits that are in force for it: for who looks, not for decisions.
#pragma once

#include "key_table.h"
#include "subject.h"

#include "core/limit/limit_refusal.h"
#include "core/limit/limit_rules.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

struct limit_state {
    limit_kind kind;         // requests, concurrency, tokens or quota
    std::string_view period; // "1s", "1m", "1h", "1d", of quotas also "w", "mo", "total"; empty = none
    uint64_t maximum;        // what can be had at once
    uint64_t remaining;
    uint64_t reset_ms; // until all of it is there again; forever = never, or not known
};

inline constexpr size_t max_limit_states = 24;

// The name of such a limit in metrics and status.
std::string_view limit_name_of(limit_kind kind);

// The states of the limits of a key, by its own and by `rules`, of which those for other scopes and dry runs
// are passed over. Of several limits of one kind and period the one with the least left counts. `who` is the
// key's subject, or nullptr if it was never used. Returns how many there are. Needs the zone's lock.
size_t limit_states(const shared_policy& policy, const subject* who, std::span<const limit_rule> rules,
                    const moment& now, std::span<limit_state, max_limit_states> to);

// The same of a user, for whom there are rules only.
size_t limit_states_of_user(const subject* who, std::span<const limit_rule> rules, const moment& now,
                            std::span<limit_state, max_limit_states> to);

} // namespace llm
