// The zones that use the file, and what passes from one to another.
//
// `counters` belongs to the zone that was opened last. It takes them as they are. If the one before lives on
// (a binary upgrade, a reload that changes the size), what it has counted by then is its `base`; from then on
// it writes no counters, but what it has counted beyond its base, as rows of `carry` for the other, and moves
// its base with them. The other imports these in their order: how many it has is counted in the zone, with
// each import in one step, so that none is imported twice, whoever is killed. It deletes each once the
// counters that it has written contain it. So at any time what was counted is the counters and the rows of
// `carry`, and the rows are those that are not in the counters.
//
// A zone whose master is gone without having closed it is lost: its running requests are charged, as rows of
// `carry` as well.
#pragma once

#include "counters.h"
#include "database.h"
#include "zone_lock.h"

#include "core/shared/shared_state.h"

#include <cstdint>
#include <string>

namespace llm {

struct zone_row {
    int64_t id = 0;
    bool closed = false;
    bool lost = false;
    int64_t turns = 0; // that were written, by whomever
    uint64_t imported_before = 0;
    uint64_t to_restore = 0; // counters
    bool restored = false;
    uint64_t subject_mark = 0;
    uint64_t series_mark = 0;
    uint64_t folds = 0;
    int64_t turned_ms = 0;
};

struct zone_opener {
    std::string name;
    uint32_t pid; // of the master,
    uint64_t started;
    uint32_t parent; // and of its parent
    bool (*is_gone)(uint32_t pid, uint64_t started);
};

// Tells a zone from all others, without telling its secret.
int64_t identity_of(const shared_state& zone);

// The pid of the master of another nginx that uses the file, 0 if there is none.
uint32_t stranger_in(database& db, const zone_opener& by);
state_result in_use_by(uint32_t stranger, std::string_view file);

// A master that goes to the background after it has made the zone is another process then.
void set_master(database& db, int64_t zone, const zone_opener& by);

bool find_zone(database& db, int64_t identity, zone_row& row);
// Makes a row of its own for a zone, which takes over. A fault if another nginx uses the file.
state_result open_zone(database& db, const zone_opener& by, const shared_state& zone, uint64_t imported,
                       int64_t now_ms, zone_row& row);
// What a turn has changed of it.
void put_zone(database& db, const zone_row& row);
// That counters belong to.
int64_t current_zone(database& db);

// Writes rows of `carry` for a zone, in their order.
class carrier {
public:
    carrier(database& db, int64_t to) : db_(db), to_(to) {}
    ~carrier();
    void put(const subject_state& s);

private:
    database& db_;
    int64_t to_;
    int64_t number_ = -1; // the last one; not known yet
};

// Charges what ran in a zone when it was last written, and gives all that is carried to it to another.
void charge_running(database& db, int64_t zone, carrier& to);
void pass_on(database& db, int64_t from, carrier& to);
// Charges what ran in zones whose master is gone.
void close_lost(database& db, const zone_opener& by, int64_t to, int64_t now_ms);
// Deletes some rows of closed zones that nobody needs any more.
void clean_closed(database& db);

} // namespace llm
