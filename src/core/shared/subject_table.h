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

#include "change_marks.h"
#include "core/base/siphash.h"
#include "subject.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

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
    // clients name get half of the table at most, and of these addresses with wrong keys, which need no good
    // key, a quarter. `name` is at most max_name.
    uint32_t find_or_make(subject_kind kind, std::string_view name, const moment& now);
    // The same for a model or an address that came with a key, whose record is `key`: where that has no room
    // (any more), one that it shares with others, see is_shared().
    uint32_t find_or_make_for(uint32_t key, subject_kind kind, std::string_view name, const moment& now);
    // For what was counted elsewhere, of a record of any kind that such a table had: `owner` is the name of
    // the key of a model or an address, or empty if that was gone.
    uint32_t find_or_make_again(subject_kind kind, std::string_view name, std::string_view owner,
                                const moment& now);
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
    // A user's, whether a key file names it or an application does: there is one at most.
    uint32_t find_user(std::string_view name) const
    {
        const uint64_t hash = keyed_hash(name);
        const uint32_t index = find(subject_kind::user, name, hash);
        return index != no_index ? index : find(subject_kind::named_user, name, hash);
    }
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
    // Blocks a key since then (seconds since 1970), or with 0 no longer.
    void block(uint32_t key, uint32_t since);
    // How many keys are blocked.
    uint32_t blocked() const { return blocked_; }
    // Frees a record that no lease names, of a kind that clients do not name. A key's names stay.
    void remove(uint32_t index);

    subject& at(uint32_t index) { return records_[index]; }
    const subject& at(uint32_t index) const { return records_[index]; }
    bool valid(uint32_t index) const
    {
        return index < high_water_
               && records_[index].kind.load(std::memory_order_relaxed) != subject_kind::none;
    }

    // --- what has changed

    // To be called for each change of what is kept of a record.
    void touch(subject& s)
    {
        s.changed.store(static_cast<uint16_t>(mark_), std::memory_order_relaxed);
        marks_.touch(static_cast<uint32_t>(&s - records_), mark_);
    }
    // What changes from now on has this mark or a later one. There were none before 1.
    uint64_t next_mark()
    {
        __atomic_store_n(&mark_, mark_ + 1, __ATOMIC_RELEASE);
        return mark_;
    }
    // Whether a record may have changed since this mark; true now and then where it has not. Needs no lock:
    // what changes meanwhile has a later mark.
    bool changed_since(uint32_t index, uint64_t mark) const
    {
        const subject& s = records_[index];
        if (s.kind.load(std::memory_order_relaxed) == subject_kind::none) {
            return false;
        }
        const uint16_t changed = s.changed.load(std::memory_order_acquire);
        const uint64_t last = __atomic_load_n(&mark_, __ATOMIC_ACQUIRE);
        const uint64_t marks = last - mark;
        // Only the end of a mark is kept.
        return marks >= UINT16_MAX || static_cast<uint16_t>(last - changed) <= marks;
    }
    // The first record from `index` on that may have changed since then, or no_index. Needs no lock.
    uint32_t changed_from(uint32_t index, uint64_t mark) const
    {
        while ((index = used_from(index)) != no_index) {
            const uint32_t at = marks_.skip(index, mark);
            if (at == index && changed_since(index, mark)) {
                return index;
            }
            index = at == index ? index + 1 : at;
        }
        return no_index;
    }
    // The first record from `index` on that was ever used, what all share included, or no_index. Needs no
    // lock.
    uint32_t used_from(uint32_t index) const
    {
        const uint32_t end = __atomic_load_n(&high_water_, __ATOMIC_RELAXED);
        index = index >= end ? std::max(index, capacity_) : index;
        return index < capacity_ + shared_by_all_records ? index : no_index;
    }

    // As it is in a record of this kind and name.
    uint32_t hash_of(subject_kind kind, std::string_view name) const { return mixed(kind, keyed_hash(name)); }
    // That of a record as if it were of another kind.
    static uint32_t hash_as(subject_kind kind, const subject& s)
    {
        return s.hash - static_cast<uint8_t>(s.kind.load(std::memory_order_relaxed))
               + static_cast<uint8_t>(kind);
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
        return capacity_ + (kind == subject_kind::model ? 0 : kind == subject_kind::address ? 1 : 2);
    }
    static constexpr uint32_t shared_by_all_records = 3;

    uint32_t take_free();
    uint32_t make(uint32_t index, subject_kind kind, std::string_view name, uint32_t owner);
    // Which records are to be used again.
    enum class whose { any, name, failed_auth };
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
    uint32_t names_; // of models, addresses and addresses with wrong keys
    uint32_t shared_;
    uint32_t failed_auths_;
    uint32_t blocked_;
    uint32_t zone_; // the zone's record
    uint32_t needed_;
    uint64_t mark_;
    change_marks marks_;
    // In the rings of those that clients name; the one after it is looked at next. The second is of proved
    // ones: those whose place is in the other ring are put there when they are looked at.
    uint32_t hand_[2];
};

} // namespace llm
