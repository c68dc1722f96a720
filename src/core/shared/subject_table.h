// Whoever requests and tokens are counted and limited for: one record each, made when it is first needed.
// Those of keys and users are kept for as long as the zone lives. Names of models and addresses come from
// clients, so their records may be used again when the table is short, once they say nothing any more; and
// each is of the key that first sent it, which may have so many and no more. What a key names beyond that is
// counted in one record of the key.
//
// That room is never lacking for whom it is due, and that nobody gets rid of what was counted:
// - Records that clients name leave what the keys and users in force may need (see set_needed), so that these
//   always find room. Those of one key are at most max_names() and one to share of each kind.
// - A record is only used again at rest: when it would be no different if it were made anew.
// - As long as what a key shares is not at rest, its new names go there.
//
// All of it lies in the shared zone. Pointers in it are good in every process, since all have inherited one
// mapping. Every function needs the zone's lock.
#pragma once

#include "core/limit/gcra.h"
#include "core/limit/quota.h"
#include "core/limit/scope.h"
#include "core/base/siphash.h"

#include <algorithm>
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
    uint32_t ring;                  // the next of those that clients name
    std::atomic<subject_kind> kind; // none = free; stored last when a record is made
    uint8_t name_len;
    char name_bytes[max_name];
    bool proved;       // of names that came with a key: an upstream has answered 200 for it
    uint32_t owner;    // of these: the key's record, or no_index if that is gone
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

    // Nothing would be different if the record were made anew, but for its totals.
    bool at_rest(const moment& now) const;
};

static_assert(sizeof(subject) == 320);
// What the end of a request changes is one piece: settle() keeps it in the journal at once.
static_assert(offsetof(subject, counts) == offsetof(subject, rates) + sizeof(subject_rates));
static_assert(offsetof(subject_rates, tat) + sizeof(subject_rates::tat) == sizeof(subject_rates));
static_assert(std::atomic<subject_kind>::is_always_lock_free);

class subject_table {
public:
    // Records that one insertion looks at, at most, for one to use again: so many that are not proved, and
    // then so many that are.
    static constexpr uint32_t max_looks = 8;
    // Those that are found in the wrong ring meanwhile, once each, and put into the other.
    static constexpr uint32_t max_moves = 32;
    // That a key may name in any case, if there is room at all.
    static constexpr uint32_t few_names = 8;

    // Bytes that a table of this capacity takes, what all share included.
    static size_t bytes(uint32_t capacity);
    // Makes an empty table over `memory` (zeroed, 64-byte aligned, bytes(capacity) long). `key` is secret:
    // clients choose names.
    void format(void* memory, uint32_t capacity, const hash_key& key);

    // The record of this kind and name, made if there is none. no_index if there is no room: those that
    // clients name get half of the table at most, and of these guessers, which need no good key, a quarter.
    // `name` is at most max_name.
    uint32_t find_or_make(subject_kind kind, std::string_view name, const moment& now);
    // The same for a model or an address that came with a key, whose record is `key`: where that has no room
    // (any more), one that it shares with others, see is_shared().
    uint32_t find_or_make_for(uint32_t key, subject_kind kind, std::string_view name, const moment& now);
    // Where a name of this kind that has no record is counted in any case, or no_index.
    uint32_t sharing(uint32_t key, subject_kind kind, const moment& now) const
    {
        uint32_t index = shared_of(key, kind);
        return index != no_index && !records_[index].at_rest(now) ? index : no_index;
    }
    bool is_shared(uint32_t index) const
    {
        return is_shared_kind(records_[index].kind.load(std::memory_order_relaxed));
    }
    // An upstream has answered 200 for it. For records of all kinds.
    void prove(uint32_t index)
    {
        const subject& s = records_[index];
        if (!s.proved && chosen_with_key(s.kind.load(std::memory_order_relaxed))) [[unlikely]] {
            prove_name(index);
        }
    }
    // How many records keys, users and the zone may need: no others are made in their room.
    void set_needed(uint32_t n) { needed_ = n; }
    // Names of models and addresses that a key has a record for each of.
    uint32_t max_names() const { return std::max(name_room() / 16, few_names); }
    uint32_t find(subject_kind kind, std::string_view name) const;
    // The zone's, or no_index.
    uint32_t zone() const { return zone_; }
    // The same as above, with the name's keyed_hash().
    uint32_t find(subject_kind kind, std::string_view name, uint64_t hash) const;
    // Whether the records are few enough to be in the cache. Needs no lock.
    bool few() const { return __atomic_load_n(&high_water_, __ATOMIC_RELAXED) < 1024; }
    // Needs no lock: nothing is done with what is read but to have a record on its way into the cache.
    void prefetch(subject_kind kind, uint64_t hash) const
    {
        uint32_t index = __atomic_load_n(&buckets_[mixed(kind, hash) & bucket_mask_], __ATOMIC_RELAXED);
        if (index < capacity_) {
            prefetch(index);
        }
    }
    // All of a record: with many of them it lies in no cache.
    void prefetch(uint32_t index) const
    {
        // A loop: gcc takes a function of prefetches alone for one without effects, and leaves its calls out.
        const char* record = reinterpret_cast<const char*>(&records_[index]);
        for (size_t at = 0; at < sizeof(subject); at += 64) {
            __builtin_prefetch(record + at, 1);
        }
    }
    // Frees a record that no lease names, of a kind that clients do not name. A key's names stay.
    void remove(uint32_t index);

    subject& at(uint32_t index) { return records_[index]; }
    const subject& at(uint32_t index) const { return records_[index]; }
    bool valid(uint32_t index) const
    {
        return index < high_water_
               && records_[index].kind.load(std::memory_order_relaxed) != subject_kind::none;
    }

    uint64_t keyed_hash(std::string_view name) const { return siphash13(key_, name); }
    uint32_t used() const { return used_; }
    // Of these, for single models and addresses, and for wrong keys; and as many as these may be.
    uint32_t names() const { return names_; }
    uint32_t name_room() const { return std::min(capacity_ / 2, shared_room()); }
    uint32_t capacity() const { return capacity_; }
    // Records at and above this index were never used.
    uint32_t high_water() const { return high_water_; }

    // Makes lists, buckets and counts anew from the records, and sets what is derived in them to 0.
    void rebuild();

private:
    static uint32_t mixed(subject_kind kind, uint64_t hash)
    {
        return static_cast<uint32_t>(hash) + static_cast<uint8_t>(kind);
    }
    // What names of clients and what is shared may take together.
    uint32_t shared_room() const { return capacity_ - std::min(capacity_, needed_); }
    bool has_free() const { return free_ != no_index || high_water_ < capacity_; }
    uint32_t shared_of(uint32_t key, subject_kind kind) const
    {
        return key == no_index ? no_index : find(shared_kind(kind), records_[key].name());
    }
    // The one that all share who have no other.
    uint32_t shared_by_all(subject_kind kind) const
    {
        return capacity_ + (kind == subject_kind::model ? 0 : 1);
    }
    static constexpr uint32_t shared_by_all_records = 2;

    uint32_t take_free();
    uint32_t make(uint32_t index, subject_kind kind, std::string_view name, uint32_t owner);
    // Which records are to be used again.
    enum class whose { any, name, guesser };
    bool reuse_one(const moment& now, whose of);
    // Adds n to what is counted of this kind; ~0 takes one away.
    void count_made(subject_kind kind, uint32_t n);
    uint32_t own_at_rest(uint32_t key, const moment& now);
    void link(uint32_t index, bool in_ring);
    void unlink_bucket(uint32_t index);
    void put_behind_hand(uint32_t& hand, uint32_t index);
    uint32_t take_after_hand(uint32_t& hand);
    void link_name(uint32_t index);
    void unlink_name(uint32_t index);
    void prove_name(uint32_t index);
    void disown_names(subject& key);
    bool is_key(uint32_t index) const
    {
        return index < high_water_
               && records_[index].kind.load(std::memory_order_relaxed) == subject_kind::key;
    }

    hash_key key_;
    subject* records_;
    uint32_t* buckets_;
    uint32_t bucket_mask_;
    uint32_t capacity_;
    uint32_t high_water_;
    uint32_t free_;
    uint32_t used_;
    uint32_t names_; // of models, addresses and guessers
    uint32_t shared_;
    uint32_t guessers_;
    uint32_t zone_; // the zone's record
    uint32_t needed_;
    // In the rings of those that clients name; the one after it is looked at next. The second is of proved
    // ones: those whose place is in the other ring are put there when they are looked at.
    uint32_t hand_[2];
};

} // namespace llm
