// All that lies in one shared zone, and every change that is made to it.
//
// The memory is divided once, when the zone is made, and nothing is allocated in it afterwards: a process
// that is killed at any instruction can then leave nothing worse than what repair() makes good from the
// leases. Every process sees the zone at one address (workers inherit the master's mapping), so pointers in
// it are good.
//
// Whoever holds the zone's lock uses it through a `session`; the functions say what needs no lock.
#pragma once

#include "admission.h"
#include "book.h"
#include "estimate.h"
#include "extension.h"
#include "key_hints.h"
#include "key_mailbox.h"
#include "key_table.h"
#include "known_callers.h"
#include "lease_owner.h"
#include "lease_table.h"
#include "publisher.h"
#include "settlement.h"
#include "subject_export.h"
#include "subject_import.h"
#include "undo_journal.h"
#include "zone_areas.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// Whose key it is that comes from where, as far as wrong keys from there matter.
struct caller {
    uint64_t id = 0; // 0: they do not
    bool is_stranger = false;
};

class shared_state {
public:
    static constexpr uint32_t max_owners = 1024;
    static constexpr size_t min_bytes = 256 * 1024;
    // How often it is said that names share counters.
    static constexpr uint64_t tell_shares_every_ns = 60'000'000'000;

    // Divides `memory` (zeroed, 64-byte aligned, at least min_bytes) as zone_areas has it. `key` is random
    // and secret: clients choose some of the names that are looked up.
    // `now_ms` (wall clock) is when the book begins.
    static shared_state* format(void* memory, size_t bytes, const hash_key& key, int64_t now_ms = 0);

    // About the smallest memory whose division holds a key table of this size and this many subjects.
    static size_t bytes_for(size_t key_table_bytes, size_t subjects);

    // Whether the memory holds a state that this code made.
    bool compatible() const { return magic_ == magic; }

    // --- keys

    // Bytes that a key table may take.
    size_t key_area_bytes() const { return key_area_bytes_; }
    // Begins to stage the next key table, for which there is one ticket at a time: 0 if another process has
    // it. One that died with it has lost it, whatever it had written; the table in force stays as it is.
    // Takes the lock: `locked(f)` calls f with the zone locked, `is_gone(owner)` is asked without it.
    template <class Locked, class Gone>
    publisher::ticket begin_staging(const lease_owner& self, Locked&& locked, Gone&& is_gone)
    {
        publisher::ticket ticket = 0;
        lease_owner holder{};
        locked([&] {
            ticket = publisher_.take(self, {}, *journal_);
            holder = publisher_.holder();
        });
        if (ticket == 0 && is_gone(holder)) {
            // Another may be faster.
            locked([&] { ticket = publisher_.take(self, holder, *journal_); });
        }
        return ticket;
    }
    // Memory for the next key table: the half that is not in force. Needs no lock, but a ticket: nobody reads
    // it, and who has the ticket alone writes it.
    void* next_key_area() { return key_areas_[keys_ == key_areas_[0] ? 1 : 0]; }
    // Puts the table that was written into next_key_area() in force; false if the ticket is lost. Subjects of
    // keys and users that are in no file any more are kept: their counters are still there if they come back.
    // As long as the ticket is kept, the table in force stays the same. Needs the lock.
    bool publish(publisher::ticket ticket, key_table* table);
    // Whose key files those in force are: the number of the configuration, which grows with each that comes
    // into force. Who watches files for one that is over publishes no more. Needs the lock.
    uint64_t configuration() const { return configuration_; }
    uint64_t begin_configuration() { return ++configuration_; }
    // Requests to read the files. Needs the lock.
    key_mailbox& mailbox() { return mailbox_; }
    // Gives the ticket back. Needs the lock.
    void end_staging(publisher::ticket ticket) { publisher_.give(ticket); }

    const key_table* keys() const { return keys_; }
    key_table* keys() { return keys_; }
    // Keys in force may have rules for their requests. Needs no lock.
    bool rules_requests() const { return rules_requests_.load(std::memory_order_acquire); }
    // Grows by one with each publication. Needs no lock: whoever takes the lock after this was seen finds
    // keys of this generation or of a later one.
    uint64_t generation() const { return __atomic_load_n(&generation_, __ATOMIC_RELAXED); }

    // Forgets a key's or a user's subject, with its counters, unless a lease names it or it is blocked. It
    // must be in no key file: the key table remembers the numbers of those that are. Who looked for it
    // without the lock says whom it saw: if the number is another's by now, nothing is done. True if it was
    // forgotten. Needs the lock.
    bool drop_subject(uint32_t index, subject_kind kind, std::string_view name)
    {
        const subject& s = subjects_.at(index);
        if ((kind != subject_kind::key && kind != subject_kind::user) || s.kind != kind || s.name() != name
            || s.in_flight != 0 || (kind == subject_kind::key && s.blocked_since() != 0)) {
            return false;
        }
        subjects_.remove(index);
        return true;
    }

    // --- what operators say of a key, by its name; all need the lock

    // Blocks it, whatever its file says, or takes that back. That holds until it is taken back: over all
    // later key tables. One that is blocked stays so since it was first blocked. False if there is no room
    // for its record.
    bool set_blocked(std::string_view key, bool blocked, const moment& now);
    // Forgets what it has used of its quotas, or of its rates. The totals and the book stay.
    enum class forget : uint8_t { quotas, rates, both };
    void reset(std::string_view key, forget what, const moment& now);

    // --- owners

    // A number for a process that may take leases, the same one if it has one; no_index if there are too
    // many. Needs the lock.
    uint32_t claim_owner(const lease_owner& self);
    // Settles what owner `number` still holds from its last progress and frees the number, if it is still
    // `who`: another may have been faster, and a new process may have the number by now. Takes the lock for
    // each lease by itself, so that nobody waits long: `locked(f)` calls f with the zone locked. Several
    // processes may do this at once.
    template <class Locked>
    void take_back(uint32_t number, const lease_owner& who, const moment& now, Locked&& locked)
    {
        for (uint32_t i = 0; i < leases_.high_water(); i++) {
            lease& l = leases_.at(i);
            if (!lease::is_taken(l.is.load(std::memory_order_acquire)) || l.owner != number) {
                continue;
            }
            locked([&] {
                if (owners_[number] == who && lease::is_taken(l.is) && l.owner == number) {
                    const token_counts used = l.progress();
                    const bool any = (used.prompt | used.completion) != 0;
                    settle(l, used, now,
                           {.is = outcome::lost, .source = any ? usage_source::partial : usage_source::none});
                }
            });
        }
        locked([&] {
            if (owners_[number] == who) {
                owners_[number] = {};
            }
        });
    }
    // Those that there ever were, vacant places included. Needs the lock.
    std::span<const lease_owner> owners() const { return {owners_, owners_end_}; }
    // Whether there is one now. Needs the lock.
    bool has_owners() const
    {
        const auto all = owners();
        return std::any_of(all.begin(), all.end(), [](const lease_owner& o) { return o.pid != 0; });
    }

    // --- requests; all need the lock, but for prepare() and prefetch()

    // Optional, before the lock is taken, so that it is held for a shorter time. Nothing of the request may
    // change afterwards but its estimate.
    void prepare(admission_request& request)
    {
        if (const shared_key* key = hints_.guess(request.file, request.key)) {
            __builtin_prefetch(key->name.data);
            prefetch(__atomic_load_n(&key->key_subject, __ATOMIC_RELAXED));
            prefetch(__atomic_load_n(&key->user_subject, __ATOMIC_RELAXED));
        }
        deciding().prepare(request);
    }
    // The same for settle().
    void prefetch(const lease& l) const
    {
        if (subjects_.few()) {
            return;
        }
        for (const lease_hold& hold : l.holds) {
            if (hold.who != no_index) {
                subjects_.prefetch(hold.who);
            }
        }
    }
    // Who calls, for check_key(), check_and_admit() and note_caller(). Needs no lock.
    caller caller_of(const admission_request& request) const;
    // The key was let in from there. Needs no lock.
    void note_caller(const caller& from, const admission_request& request)
    {
        if (from.id != 0) {
            callers_->note(from.id, request.now_ms);
        }
    }
    // Whether the key of a request and its model would let it in. Takes nothing.
    verdict check(const admission_request& request);
    // The same, and an unknown key counts as a failure of the request's address: `limited` if it had too
    // many. Then a stranger is `limited` as well, or else a guess that is right would be told from the
    // others. A good key that is known to come from there passes whatever others behind its address do. `key`
    // is set where it exists, whatever else is said of it.
    admission_result check_key(const admission_request& request, shared_key*& key, const caller& from = {});
    // Finds the key and takes a lease for its request: all or nothing. Unknown keys and strangers as above.
    // The request's estimate is made here, of `size`, where there are limits; without a size it is as given.
    // Says `asks_user`, and takes nothing, if `request.user_from` is not what the key has: the caller looks
    // for the user in that header, and asks again.
    admission_result check_and_admit(admission_request& request, const request_size* size, shared_key*& key,
                                     const caller& from = {});
    // See extension.h. A key that is gone meanwhile does not end its streams.
    extension_result extend(lease& l, const admission_request& request, uint64_t more);
    // Ends a lease: whoever it names is charged, the book has it, and it is free again. The owner may ask
    // for the names before the lock is taken, so that it is held for a shorter time.
    book_names names_of(const lease& l) const { return book_.names_of(l, subjects_); }
    void settle(lease& l, const token_counts& used, const moment& now, const request_end& end,
                const book_names& names)
    {
        settling().settle(l, used, now, end, names);
    }
    void settle(lease& l, const token_counts& used, const moment& now, const request_end& end = {})
    {
        settle(l, used, now, end, names_of(l));
    }

    // --- the book

    const book& counted() const { return book_; }
    // For a pass over what changes from now on. Needs the lock.
    uint64_t next_mark_of_book() { return book_.next_mark(); }
    // Names for the book of a request without a lease. Needs no lock.
    book_names names_of(std::string_view key, std::string_view user, std::string_view model,
                        bool named_user = false) const
    {
        return book_.names_of(key, user, model, subjects_, named_user);
    }
    // A request has ended that was refused, and never let in. Needs the lock.
    void count_refused(const book_names& names, refusal why, const moment& now);
    // One that ended before anything was decided.
    void count_undecided(const book_names& names, const request_end& end, const moment& now);
    // Needs the lock.
    void name_model(std::string_view name, const moment& now) { book_.name_model(name, subjects_, now); }
    void set_gone(uint32_t client, uint64_t serial, bool gone) { book_.set_gone(client, serial, gone); }

    // Asks whoever owns a request to end it; the request is named by its lease's place and serial. False if
    // it has ended.
    bool stop(uint32_t index, uint64_t serial, stop_reason why)
    {
        lease* l = leases_.find(index, serial);
        if (l) {
            l->stop(why);
            __atomic_store_n(&stops_, stops_ + 1, __ATOMIC_RELAXED);
        }
        return l != nullptr;
    }

    // Grows by one with each of these. Needs no lock: for owners, to see that there is something to look for.
    uint64_t stops() const { return __atomic_load_n(&stops_, __ATOMIC_RELAXED); }

    // Needs no lock.
    token_estimator& learned() { return learned_; }

    // --- what is kept outside of the zone

    // A pass over what has changed since an earlier one, or over all. Needs the lock.
    subject_export begin_export(uint64_t since) { return {subjects_, learned_, since}; }
    // Puts a subject's state back, or adds what was counted elsewhere, see subject_import.h. Keys should be
    // in force, and set_needed() have kept their room. Needs the lock.
    bool import(const subject_state& from, const moment& now)
    {
        return subject_import(subjects_, learned_, *journal_).add(from, now, imported_);
    }
    // How many states were put back, those without room included: who goes on where another was killed begins
    // after these. Needs the lock.
    uint64_t imported() const { return imported_; }

    // Whether the state of this zone is written to a disk, as whoever writes it has seen it last: 0 = all is
    // well, else the fault, and since when that is so or when it was written last. Needs no lock. Returns
    // what was there before.
    uint8_t note_disk(uint8_t fault, int64_t now_ms)
    {
        const uint8_t before = disk_fault_.exchange(fault, std::memory_order_relaxed);
        if (fault == 0 || fault != before) {
            disk_ms_.store(now_ms, std::memory_order_relaxed);
        }
        return before;
    }
    uint8_t disk_fault() const { return disk_fault_.load(std::memory_order_relaxed); }
    // 0: never yet.
    int64_t disk_ms() const { return disk_ms_.load(std::memory_order_relaxed); }

    // --- the lock's session

    // To be called after the lock is taken and before it is given back. If the last one to hold it was
    // killed, enter() sets right what may be half done.
    void enter();
    void leave() { busy_.store(0, std::memory_order_release); }

    // What the bytes of a zone of this size are for, of which this state is a part: an entry for each area,
    // and one for all else. They add up to its size. Needs the lock.
    using part_list = std::array<area_bytes, zone_areas::count + 1>;
    part_list parts(size_t zone_size) const;

    const subject_table& subjects() const { return subjects_; }
    const lease_table& leases() const { return leases_; }

    // How many subjects keys and users need, those that are kept included: their room is not to be taken by
    // names that clients choose. Needs the lock.
    void set_needed(size_t subjects)
    {
        // The zone has one too.
        subjects_.set_needed(static_cast<uint32_t>(std::min<size_t>(subjects + 1, subjects_.capacity())));
    }

private:
    friend struct area_rows;
    friend struct zone_areas;

    void prefetch(uint32_t subject) const
    {
        if (subject < subjects_.capacity()) {
            subjects_.prefetch(subject);
        }
    }

    static constexpr uint64_t magic = 0x3c006d6c6c78676e; // "ngxllm", layout 12

    [[gnu::cold]] void repair();
    verdict check(const admission_request& request, shared_key*& key);
    [[gnu::cold]] bool is_blocked(shared_key& key);
    admission_result admit(const admission_request& request, shared_key& key);
    admission deciding() { return {subjects_, leases_, *journal_}; }
    settlement settling() { return {subjects_, leases_, book_, *journal_}; }

    uint64_t magic_;
    std::atomic<uint32_t> busy_;
    std::atomic<bool> rules_requests_;
    publisher publisher_;
    uint64_t generation_;
    uint64_t configuration_;
    uint64_t stops_;
    key_table* keys_; // at the beginning of one of the areas
    void* key_areas_[2];
    size_t key_area_bytes_;
    undo_journal* journal_;
    subject_table subjects_;
    lease_table leases_;
    token_estimator learned_;
    book book_;
    key_hints hints_;
    known_callers* callers_;
    uint64_t imported_;
    uint64_t silent_until_ns_; // that names share counters
    std::atomic<int64_t> disk_ms_;
    std::atomic<uint8_t> disk_fault_;
    key_mailbox mailbox_;
    uint32_t owners_end_;
    lease_owner* owners_;
    size_t area_bytes_[zone_areas::count];
};

} // namespace llm
