// Keeps what a restart must not forgive in a database: `state=` of llm_zone. docs/state.md has the tables.
//
// Three use it. A process that the master forks before it starts workers restores a new zone. The keeper
// writes what has changed, twice a second; it may be killed at any instruction, and the next one knows
// nothing but the zone and the database. A last process closes the zone when all workers are gone.
//
// Each turn is one transaction, which what it reads of the zone is part of; so two keepers at once, as a
// reload has them for a moment, do no harm. The zone is locked for the copying of 64 records at most.
//
// If all processes are killed, what is lost is what happened since the last turn:
//
// - What requests that run had used by then is in `running`. They are copied first, then what has changed of
//   subjects and series, then all of them that have ended meanwhile are left out of `running`. What ends
//   later is in none of the copies. So no request is both in `running` and in the counters or the ledger:
//   nothing is ever charged twice.
// - Of one that ended on the way a copy may have been made before: it is in neither, until the next turn.
// That
//   is less than a second's worth of most, but all of a long one; if there is one, what has changed is copied
//   once more.
#pragma once

#include "journal.h"
#include "ledger.h"
#include "state_turn.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace llm {

struct state_options {
    std::string path;
    zone_opener by;
    int64_t keep_seconds = 0;  // of the ledger; 0: forever
    unsigned turn_ms = 40;     // about the longest turn
    size_t many_changes = 512; // a turn with more of them writes to the journal
    unsigned wait_ms = 5000;   // restore() and close() wait so long for a lock of another
};

class state_store {
public:
    explicit state_store(state_options options) : options_(std::move(options)) {}

    // Whether the file will do, for `nginx -t`: changes nothing. What is missing or damaged will be made
    // anew; of the latter this is a fault all the same.
    state_result check();

    // In all of these `locked(f)` calls f with the zone locked. What went wrong is tried again with the next
    // turn, whatever it was.

    // Puts back what was kept, before the first request of a new zone, once keys are in force. If it fails,
    // the turns do that, and add it to what has been counted by then.
    template <class Locked>
    state_result restore(shared_state& zone, const moment& now, Locked&& locked)
    {
        return restore_with(zone, now, zone_lock(locked));
    }
    // Writes what has changed. If there is `more`, the next turn should come soon.
    template <class Locked>
    state_result turn(shared_state& zone, const moment& now, Locked&& locked)
    {
        return turn_with(zone, now, zone_lock(locked), turn_is::usual);
    }
    // Writes all there is, and closes the zone: requests that are still there are charged as lost.
    template <class Locked>
    state_result close(shared_state& zone, const moment& now, Locked&& locked)
    {
        return close_with(zone, now, zone_lock(locked));
    }

private:
    state_result restore_with(shared_state& zone, const moment& now, const zone_lock& lock);
    state_result turn_with(shared_state& zone, const moment& now, const zone_lock& lock, turn_is is);
    state_result close_with(shared_state& zone, const moment& now, const zone_lock& lock);
    state_result begin();
    state_result find_own(state_turn& w);
    state_result do_turn(state_turn& w);
    void copy(state_turn& w);
    void renew_series(state_turn& w);
    void copy_subjects(state_turn& w, size_t most);
    void write(state_turn& w);
    bool write_to_tables(state_turn& w);
    bool write_to_journal(state_turn& w);
    void drop_carried(const state_turn& w, const subject_state& s);
    void write_subject(state_turn& w, const subject_state& s, class carrier& to);
    void tidy(state_turn& w);
    void adapt(const state_turn& w);
    void forget();

    state_options options_;
    database db_;
    // What is known of the zone as long as nobody else has written; -1: nothing.
    int64_t turns_ = -1;
    std::unique_ptr<subject_export> subjects_; // the pass that goes on
    std::unique_ptr<ledger_pass> series_;
    journal_folder folder_;
    int64_t carried_at_begin_ = 0; // imported when the pass began
    bool running_is_empty_ = false;
    size_t most_ = 2048; // records of a turn
};

} // namespace llm
