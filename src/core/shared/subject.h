// Whoever requests and tokens are counted and limited for, as a record in the zone.
#pragma once

#include "core/base/siphash.h"
#include "core/base/token_counts.h"
#include "core/limit/gcra.h"
#include "core/limit/quota.h"
#include "core/limit/scope.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// Of requests that have ended: those that run are counted by their leases.
struct usage_totals {
    uint64_t requests = 0;
    uint64_t prompt = 0;
    uint64_t cached = 0;
    uint64_t completion = 0;
    uint64_t reasoning = 0;
    uint64_t cache_write = 0;

    token_counts tokens() const { return {prompt, cached, completion, reasoning, cache_write}; }
};

enum rate_kind : uint8_t { rate_of_requests, rate_of_tokens };

// The rates that a subject is held to. Limits of one interval share one state, whichever location they stand
// in; limits of different intervals are different limits and have a state each, up to two that are in use at
// a time (as after a reload that changes one). Further ones share the last state, which makes them stricter,
// never weaker.
struct subject_rates {
    static constexpr unsigned own_states = 4;
    interval_label label[2][own_states]; // of their intervals; two of the same label share a state
    uint16_t epoch[own_states + 1];      // of tokens: counts the times that the state was found wholly unused
    uint32_t next_name;                  // no rate, but the subject's: it fits in here
    uint64_t tat[2][own_states + 1];

    // The state of limits with this interval, for looking. Mostly it is the first.
    unsigned state_of(rate_kind kind, interval_label wanted) const
    {
        unsigned i = 0;
        while (i < own_states && label[kind][i] != wanted) {
            i++;
        }
        return i;
    }
    uint64_t tat_of(rate_kind kind, interval_label wanted) const { return tat[kind][state_of(kind, wanted)]; }
    // The same for taking: one of its own, if one is free.
    unsigned claim_state(rate_kind kind, interval_label wanted, uint64_t now_ns)
    {
        unsigned state = state_of(kind, wanted);
        return state != own_states ? state : claim_new_state(kind, wanted, now_ns);
    }
    // Takes from a state that was claimed.
    void take(rate_kind kind, unsigned state, uint64_t interval_ns, uint64_t now_ns, uint64_t units)
    {
        uint64_t& t = tat[kind][state];
        if (kind == rate_of_tokens && t <= now_ns) {
            epoch[state]++;
        }
        t = gcra_take(t, now_ns, interval_ns, units);
    }
    // Adds what is still to flow off of what was taken elsewhere, `ns` of it.
    void owe(rate_kind kind, interval_label label, uint64_t now_ns, uint64_t ns);

private:
    unsigned claim_new_state(rate_kind kind, interval_label wanted, uint64_t now_ns);
};

// What requests of a subject have used, once they ended.
struct subject_counts {
    usage_totals totals;
    uint64_t used[quota_windows];     // weighted tokens
    uint32_t hour : 22;               // of the wall clock, when tokens were last counted
    uint32_t windows : quota_windows; // quota windows in which tokens count: bits
    uint32_t ahead : quota_windows;   // of these, those whose tokens are of the window after that of `hour`
    uint32_t previous_name;           // no count, but the subject's: it fits in here

    // Tokens that count in the window that the hour `at` lies in. A clock that has stepped back resets
    // nothing, so that no window begins a second time; but if it was ahead by more than a window, the quota
    // begins anew: nobody is to wait until the clock is there again.
    uint64_t used_in(quota_window w, uint32_t at) const
    {
        bool counts = (windows & bit_of(w)) && (at == hour || counts_at(w, at));
        return counts ? used[index_of(w)] : 0;
    }
    // An hour of the window that these tokens are of: `at`, or a later one if the clock has stepped back.
    uint32_t hour_of_use(quota_window w, uint32_t at) const
    {
        if (at == hour && ahead == 0) [[likely]] {
            return at;
        }
        bool counts = (windows & bit_of(w)) && counts_at(w, at);
        return counts && period_of_use(w) != quota_period(w, at) ? quota_end(w, at) : at;
    }
    // Counts tokens in these windows (bits).
    void count(uint8_t in_windows, uint32_t at, uint64_t tokens)
    {
        if (at != hour) {
            begin_hour(at);
        }
        if (unsigned begun = in_windows & ~windows; begun != 0) [[unlikely]] {
            begin_windows(begun);
        }
        for (unsigned left = in_windows; left != 0; left &= left - 1) {
            uint64_t& u = used[__builtin_ctz(left)];
            u = add_up(u, tokens);
        }
    }
    // Counts tokens that were counted elsewhere, in the window that the hour `of` lies in; not if that is
    // over.
    void count_again(quota_window w, uint32_t of, uint32_t at, uint64_t tokens);

private:
    uint32_t period_of_use(quota_window w) const
    {
        return quota_period(w, hour) + (ahead >> index_of(w) & 1);
    }
    bool counts_at(quota_window w, uint32_t at) const
    {
        const uint32_t of_use = period_of_use(w);
        const uint32_t now = quota_period(w, at);
        return of_use == now || (of_use == now + 1 && (at >= hour || hour - at <= quota_hours(w)));
    }
    void begin_hour(uint32_t at);
    void begin_windows(unsigned bits);
};
// Whatever the wall clock says, its hour fits.
static_assert(hour_of(INT64_MAX) < 1u << 22);

struct alignas(64) subject {
    uint32_t next;      // in its bucket, or in the list of free records
    uint32_t in_flight; // leases that name it: derived from the leases, recounted by shared_state::repair
    uint32_t hash;
    uint32_t ring;                  // the next of those that clients name; of a key: see blocked_since()
    std::atomic<subject_kind> kind; // none = free; stored last when a record is made
    uint8_t name_len : 7;
    bool proved : 1;               // of names that came with a key: an upstream has answered 200 for it
    std::atomic<uint16_t> changed; // the end of the table's mark when it last changed, see subject_table
    char name_bytes[max_name];
    uint32_t owner;    // of names that came with a key: the key's record, or no_index if that is gone
    uint64_t reserved; // tokens that its leases hold against quotas: derived, as in_flight
    subject_rates rates;
    subject_counts counts;

    std::string_view name() const { return {name_bytes, name_len}; }

    // A key's names are two rings, of those not proved and of those proved, and counted. A key has no other
    // use for the fields that its names have for that. All derived from the names.
    uint32_t& next_name() { return rates.next_name; }
    uint32_t& previous_name() { return counts.previous_name; }
    uint32_t& names_of_key(bool are_proved) { return are_proved ? counts.previous_name : rates.next_name; }
    uint32_t& names() { return owner; }
    uint32_t names() const { return owner; }

    // Of a key: when an operator has blocked it, in seconds since 1970; 0 = it is not blocked. One store, so
    // that a process killed on the way leaves it whole. Keys are in no ring of what clients name.
    uint32_t& blocked_since() { return ring; }
    uint32_t blocked_since() const { return ring; }

    // Forgets what counts in quotas, and what is still to flow off of rates. What was used stays in the
    // totals. Tokens that requests in flight give back or use beyond their reservation count from now on.
    void forget_quotas()
    {
        counts.windows = 0;
        counts.ahead = 0;
    }
    void forget_rates(uint64_t now_ns);

    // Nothing would be different if the record were made anew, but for its totals.
    bool at_rest(const moment& now) const;
};

static_assert(sizeof(subject) == 320);
static_assert(max_name < 128);
// What the end of a request changes is one piece: settle() keeps it in the journal at once.
static_assert(offsetof(subject, counts) == offsetof(subject, rates) + sizeof(subject_rates));
static_assert(offsetof(subject_rates, tat) + sizeof(subject_rates::tat) == sizeof(subject_rates));
static_assert(std::atomic<subject_kind>::is_always_lock_free);

} // namespace llm
