// What busy turns write: one row with all that has changed, sorted, instead of a row here and there in all
// tables for each of thousands of keys. Later the rows of many turns are merged, as sorted runs, and of each
// subject and series the last word of the hour is written to its table: so one that is busy all the time is
// written there once a minute, and neighbours are written together.
//
// All that a row of the journal says is absolute. So nothing is counted twice if the tables have part of it
// already, whoever was killed on the way: a pass is begun anew with the first row.
//
// It is of the zone that counters belong to, whose tables are written in no other way as long as there is a
// row of it. Another zone takes over with all of it in the tables.
#pragma once

#include "database.h"
#include "ledger.h"
#include "packed.h"
#include "state_turn.h"

#include "core/shared/subject_state.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

struct journal_size {
    uint64_t bytes = 0;
    int64_t first_ms = 0; // when its first row was written

    bool any() const { return bytes != 0; }
};

// A pass over the rows that there were when it was begun.
class journal_fold {
public:
    explicit journal_fold(database& db);
    journal_fold(const journal_fold&) = delete;
    journal_fold& operator=(const journal_fold&) = delete;

    // Writes on for about as long as this much of this thread's CPU time. True once all of them are in the
    // tables, and deleted.
    bool write(database& db, uint64_t most_ms);

private:
    struct run {
        int64_t number;
        int64_t zone;
        int64_t at_ms;
        std::string subjects, series;
    };

    // Where a run is.
    struct cursor {
        const run* from;
        unpacker rest;
        std::string_view sort_key, record;

        bool advance();
    };

    enum class part { reading, subjects, series, deleting };

    bool is_series() const { return now_ == part::series; }
    bool step(database& db);
    bool read_one(database& db);
    bool write_some(database& db);
    bool delete_one(database& db);
    bool is_later(const cursor& a, const cursor& b) const;
    void begin();
    cursor take();
    bool write_one(database& db, const cursor& c) const;

    std::vector<run> runs_;
    std::vector<cursor> heap_; // that with the first record is on top
    part now_ = part::reading;
    int64_t last_; // row that is part of it
};

// When it is folded, and how much of it in a turn.
class journal_folder {
public:
    struct needs {
        int64_t now_ms;
        uint64_t turn_ms;
        bool at_once; // nothing else can be written before all of it is
        bool is_quiet;
    };

    // Some of it, if it is time for that. True if there still is some.
    bool turn(database& db, const needs& n, state_turn& w);
    // Sorts these, and writes them as they are now.
    void append(database& db, int64_t zone, std::vector<subject_state>& states,
                std::vector<ledger_entry>& entries, int64_t now_ms);
    // Somebody else may have written meanwhile.
    void forget()
    {
        pass_.reset();
        size_.reset();
    }

private:
    std::unique_ptr<journal_fold> pass_;
    std::optional<journal_size> size_;
};

// All that is there.
void fold_whole_journal(database& db);

} // namespace llm
