// The ledger: who used what in which hour, out of the book.
//
// A series of the book tells all since its record was made, a row of the ledger what of it was in one hour.
// So `series` has what of each series is in the ledger already: what it has become more by is added to the
// row of the hour, and both are written in one transaction.
//
// A series that is folded is counted in another, which then has become more by what is in the ledger already.
// That is seen by its record, which is gone: what was written of it counts as written of the other. So that
// no fold is half seen, those into which others are folded are copied last, and are left for another time if
// there was one on the way. Which of the two possible ones it was is not known for sure if the first was made
// at the same time; their sum is right in any case.
#pragma once

#include "database.h"
#include "zone_lock.h"

#include "core/shared/book_export.h"
#include "core/shared/shared_state.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

// What a series and a row of the ledger have of numbers.
struct used_counts {
    uint64_t requests[outcomes] = {};
    token_counts tokens;
    uint64_t cost = 0;

    bool any() const;
    // False if `less` is more in anything; nothing is done then.
    bool take_off(const used_counts& less);
};

struct ledger_entry {
    uint64_t serial;
    bool of_others; // of the client of all others
    std::string key, user, model;
    used_counts counts;
};

// What a pass over the book has found, to be written.
struct ledger_pass {
    uint64_t since = 0;        // mark of what it is of
    uint64_t others_since = 0; // likewise, of `others`
    uint64_t next = 0;         // where the next pass begins once this one is whole
    book_cursor at;
    bool at_end = false;

    std::vector<ledger_entry> entries; // for one turn
    std::vector<ledger_entry> others;
    bool has_others = false; // and they are as of after this many folds
    uint64_t folds = 0;
    std::vector<uint64_t> live; // serials that there are, in their order, if there was a fold since
};

// Begins a pass.
ledger_pass begin_pass(shared_state& zone, const zone_lock& lock, uint64_t since);
// Copies on, about `most` entries. `folds` were counted before.
void copy_series(const shared_state& zone, const zone_lock& lock, uint64_t folds, size_t most,
                 ledger_pass& to);
// Writes what was copied and forgets it. True if all of the pass is written; `folds` is moved on.
bool write_series(database& db, int64_t zone, ledger_pass& from, uint64_t& folds, int64_t now_ms);

// What a series is by now: what it has become more by since it was written last is added to its hour. Nothing
// is done with what was so earlier.
void write_absolute(database& db, int64_t zone, const ledger_entry& e, int64_t at_ms);

void add_to_ledger(database& db, int64_t zone, std::string_view key, std::string_view user,
                   std::string_view model, const used_counts& counts, int64_t at_ms);

// Deletes some rows of hours before this one; true if there may be more.
bool forget_before(database& db, int64_t before_ms);

} // namespace llm
