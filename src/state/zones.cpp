#include "zones.h"

#include "journal.h"
#include "ledger.h"
#include "running.h"
#include "schema.h"

#include <vector>

namespace llm {

namespace {

constexpr int64_t few_rows = 500;

struct open_one {
    int64_t id;
    uint32_t pid;
    uint64_t started;
    bool restored;
};

std::vector<open_one> open_zones(database& db)
{
    std::vector<open_one> all;
    query q(db, "SELECT id, pid, started, restored FROM zones WHERE cleaned = 0 AND closed IS NULL");
    while (q.row()) {
        all.push_back({q.integer(0), static_cast<uint32_t>(q.number(1)), q.number(2), q.integer(3) != 0});
    }
    return all;
}

// A master that lives and is neither this one nor its parent, whose zones pass to this one at an upgrade.
uint32_t stranger_among(const std::vector<open_one>& zones, const zone_opener& by)
{
    uint32_t stranger = 0;
    for (const open_one& z : zones) {
        if (by.is_gone(z.pid, z.started)) {
            continue;
        }
        if (z.pid == by.pid || z.pid == by.parent) {
            return 0;
        }
        stranger = z.pid;
    }
    return stranger;
}

void close_zone(database& db, int64_t zone, bool lost, int64_t now_ms)
{
    query(db, "UPDATE zones SET closed = ?, lost = ? WHERE id = ?")
        .bind(now_ms)
        .bind(int64_t{lost})
        .bind(zone)
        .run();
}

} // namespace

int64_t identity_of(const shared_state& zone)
{
    return static_cast<int64_t>(zone.subjects().keyed_hash("the zone's identity") >> 1);
}

state_result in_use_by(uint32_t stranger, std::string_view file)
{
    return {state_fault::in_use,
            std::string(file) + "is in use by another nginx, whose master has pid "
                + std::to_string(stranger),
            false};
}

uint32_t stranger_in(database& db, const zone_opener& by)
{
    return stranger_among(open_zones(db), by);
}

void set_master(database& db, int64_t zone, const zone_opener& by)
{
    query(db, "UPDATE zones SET pid = ?, started = ? WHERE id = ? AND (pid <> ? OR started <> ?)")
        .bind(int64_t{by.pid})
        .count(by.started)
        .bind(zone)
        .bind(int64_t{by.pid})
        .count(by.started)
        .run();
}

bool find_zone(database& db, int64_t identity, zone_row& row)
{
    query q(db,
            "SELECT id, closed IS NOT NULL, lost, turns, imported_before, to_restore, restored, subject_mark,"
            " series_mark, folds, turned FROM zones WHERE identity = ?");
    if (!q.bind(identity).row()) {
        return false;
    }
    row = {.id = q.integer(0),
           .closed = q.integer(1) != 0,
           .lost = q.integer(2) != 0,
           .turns = q.integer(3),
           .imported_before = q.number(4),
           .to_restore = q.number(5),
           .restored = q.integer(6) != 0,
           .subject_mark = q.number(7),
           .series_mark = q.number(8),
           .folds = q.number(9),
           .turned_ms = q.integer(10)};
    return true;
}

state_result open_zone(database& db, const zone_opener& by, const shared_state& zone, uint64_t imported,
                       int64_t now_ms, zone_row& row)
{
    const std::vector<open_one> others = open_zones(db);
    std::vector<int64_t> lost;
    if (const uint32_t stranger = stranger_among(others, by); stranger != 0) {
        return in_use_by(stranger, "");
    }
    // Nobody but the zone that it is of writes with it in mind.
    fold_whole_journal(db);
    const int64_t current = current_zone(db);
    bool is_being_restored = false;
    for (const open_one& z : others) {
        if (by.is_gone(z.pid, z.started)) {
            lost.push_back(z.id);
        } else {
            is_being_restored |= z.id == current && !z.restored;
        }
    }
    if (is_being_restored) {
        return {state_fault::busy, "another zone is still being restored from it", false};
    }
    for (const open_one& z : others) {
        if (z.id == current && !by.is_gone(z.pid, z.started)) {
            query(db, "INSERT OR REPLACE INTO base(zone, " LLM_COUNTER_COLUMNS
                      ") SELECT ?, " LLM_COUNTER_COLUMNS " FROM counters")
                .bind(z.id)
                .run();
        }
    }
    query(db, "INSERT INTO zones(identity, name, pid, started, opened, imported_before, to_restore)"
              " SELECT ?, ?, ?, ?, ?, ?, count(*) FROM counters")
        .bind(identity_of(zone))
        .bind(by.name)
        .bind(int64_t{by.pid})
        .count(by.started)
        .bind(now_ms)
        .count(imported)
        .run();
    if (!find_zone(db, identity_of(zone), row)) {
        return {};
    }
    close_lost(db, by, row.id, now_ms);
    // What the last one has not come to import.
    std::vector<int64_t> closed;
    {
        query q(
            db,
            "SELECT DISTINCT zone FROM carry WHERE zone IN (SELECT id FROM zones WHERE closed IS NOT NULL)");
        while (q.row()) {
            closed.push_back(q.integer(0));
        }
    }
    carrier to(db, row.id);
    for (const int64_t z : closed) {
        pass_on(db, z, to);
    }
    return {};
}

void put_zone(database& db, const zone_row& row)
{
    query(db,
          "UPDATE zones SET turns = ?, restored = ?, subject_mark = ?, series_mark = ?, folds = ?, turned = ?"
          " WHERE id = ?")
        .bind(row.turns)
        .bind(int64_t{row.restored})
        .count(row.subject_mark)
        .count(row.series_mark)
        .count(row.folds)
        .bind(row.turned_ms)
        .bind(row.id)
        .run();
}

int64_t current_zone(database& db)
{
    query q(db, "SELECT max(id) FROM zones");
    return q.row() ? q.integer(0) : 0;
}

carrier::~carrier()
{
    if (number_ >= 0) {
        query(db_, "UPDATE zones SET carried = ? WHERE id = ?").bind(number_).bind(to_).run();
    }
}

void carrier::put(const subject_state& s)
{
    if (number_ < 0) {
        query q(db_, "SELECT carried FROM zones WHERE id = ?");
        number_ = q.bind(to_).row() ? q.integer(0) : 0;
    }
    query q(db_,
            "INSERT INTO carry(zone, number, " LLM_COUNTER_COLUMNS ") VALUES(?,?," LLM_COUNTER_VALUES ")");
    q.bind(to_).bind(++number_);
    bind_state(q, s);
    q.run();
}

void charge_running(database& db, int64_t zone, carrier& to)
{
    for (const lost_request& r : read_running(db, zone)) {
        used_counts used;
        used.requests[index_of(outcome::lost)] = 1;
        used.tokens = r.used;
        used.cost = r.cost;
        add_to_ledger(db, zone, r.key, r.user, r.model, used, r.updated_ms);
        for (const subject_state& s : charges_of(r.holds, r.used, r.cost, r.updated_ms)) {
            to.put(s);
        }
    }
    forget_running(db, zone);
}

void pass_on(database& db, int64_t from, carrier& to)
{
    std::vector<subject_state> all;
    {
        query q(db, "SELECT " LLM_COUNTER_COLUMNS " FROM carry WHERE zone = ? ORDER BY number");
        q.bind(from);
        while (q.row()) {
            all.push_back(read_state(q, 0));
        }
    }
    query(db, "DELETE FROM carry WHERE zone = ?").bind(from).run();
    for (const subject_state& s : all) {
        to.put(s);
    }
}

void close_lost(database& db, const zone_opener& by, int64_t to_zone, int64_t now_ms)
{
    for (const open_one& z : open_zones(db)) {
        if (z.id != to_zone && by.is_gone(z.pid, z.started)) {
            carrier to(db, to_zone);
            charge_running(db, z.id, to);
            pass_on(db, z.id, to);
            close_zone(db, z.id, true, now_ms);
        }
    }
}

void clean_closed(database& db)
{
    int64_t zone = 0;
    {
        query q(db, "SELECT id FROM zones WHERE cleaned = 0 AND closed IS NOT NULL"
                    " AND id != (SELECT max(id) FROM zones) LIMIT 1");
        if (!q.row()) {
            return;
        }
        zone = q.integer(0);
    }
    query(db, "DELETE FROM base WHERE (zone, kind, name) IN (SELECT zone, kind, name FROM base WHERE zone = "
              "? LIMIT ?)")
        .bind(zone)
        .bind(few_rows)
        .run();
    int64_t deleted = db.ok() ? db.changes() : 0;
    query(
        db,
        "DELETE FROM series WHERE (zone, serial) IN (SELECT zone, serial FROM series WHERE zone = ? LIMIT ?)")
        .bind(zone)
        .bind(few_rows)
        .run();
    deleted += db.ok() ? db.changes() : 0;
    if (deleted == 0) {
        query(db, "UPDATE zones SET cleaned = 1 WHERE id = ?").bind(zone).run();
    }
}

} // namespace llm
