// What a restart must not forgive of a subject, to be kept outside of the zone: nothing in it depends on the
// zone, on the boot or on a process.
#pragma once

#include "estimate.h"
#include "subject.h"

#include "core/limit/quota.h"
#include "core/limit/scope.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

struct subject_state {
    // To be kept with it: changes when a field gets another meaning. interval_label is such a meaning.
    static constexpr uint32_t version = 1;

    // What is still to flow off of what was taken from a rate; ns = 0: nothing.
    struct debt {
        uint64_t ns;
        interval_label label; // none: of the state that further rates share
    };
    struct quota {
        uint64_t used; // tokens, weighted; 0: nothing
        uint32_t hour; // since 1970, in the window that they count in
    };

    subject_kind kind;
    bool proved;
    bool blocked; // by an operator
    uint8_t name_len;
    uint8_t owner_len;
    char name_bytes[max_name];
    char owner_bytes[max_name]; // of a model or an address: the name of its key; none if that is gone
    int64_t unix_ms;            // when all this was so
    usage_totals totals;
    quota quotas[quota_windows];
    debt debts[2][subject_rates::own_states + 1]; // by rate_kind
    learned_figures learned;                      // of a model
    learned_figures learned_by_owner;             // of the owner's requests to it

    std::string_view name() const { return {name_bytes, name_len}; }
    std::string_view owner() const { return {owner_bytes, owner_len}; }
};

} // namespace llm
