#include "schema.h"

#include <ctime>

namespace llm {

namespace {

#define LLM_COUNTER_DEFINITIONS                                                                              \
    " kind TEXT NOT NULL, name NOT NULL, owner TEXT NOT NULL,"                                               \
    " requests INTEGER NOT NULL, prompt INTEGER NOT NULL, cached INTEGER NOT NULL,"                          \
    " completion INTEGER NOT NULL, reasoning INTEGER NOT NULL, cache_write INTEGER NOT NULL,"                \
    " quota_hour INTEGER NOT NULL, quota_hour_at INTEGER NOT NULL,"                                          \
    " quota_day INTEGER NOT NULL, quota_day_at INTEGER NOT NULL,"                                            \
    " quota_week INTEGER NOT NULL, quota_week_at INTEGER NOT NULL,"                                          \
    " quota_month INTEGER NOT NULL, quota_month_at INTEGER NOT NULL,"                                        \
    " quota_total INTEGER NOT NULL, quota_total_at INTEGER NOT NULL,"                                        \
    " debts TEXT, learned TEXT, proved INTEGER NOT NULL, blocked INTEGER NOT NULL,"                          \
    " updated INTEGER NOT NULL"

#define LLM_USED                                                                                             \
    " requests_ok INTEGER NOT NULL, requests_incomplete INTEGER NOT NULL, requests_refused INTEGER NOT "     \
    "NULL,"                                                                                                  \
    " requests_client_abort INTEGER NOT NULL, requests_upstream_error INTEGER NOT NULL,"                     \
    " requests_cut INTEGER NOT NULL, requests_lost INTEGER NOT NULL,"                                        \
    " prompt INTEGER NOT NULL, cached INTEGER NOT NULL, completion INTEGER NOT NULL,"                        \
    " reasoning INTEGER NOT NULL, cache_write INTEGER NOT NULL, cost INTEGER NOT NULL"

constexpr const char* tables =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE zones(id INTEGER PRIMARY KEY AUTOINCREMENT, identity INTEGER NOT NULL UNIQUE, name TEXT "
    "NOT NULL,"
    " pid INTEGER NOT NULL, started INTEGER NOT NULL, opened INTEGER NOT NULL, closed INTEGER,"
    " lost INTEGER NOT NULL DEFAULT 0,"
    // How far it is. `turns` tells one writer that another has written meanwhile.
    " turns INTEGER NOT NULL DEFAULT 0, imported_before INTEGER NOT NULL, to_restore INTEGER NOT NULL,"
    " restored INTEGER NOT NULL DEFAULT 0, carried INTEGER NOT NULL DEFAULT 0,"
    " subject_mark INTEGER NOT NULL DEFAULT 0, series_mark INTEGER NOT NULL DEFAULT 0,"
    " folds INTEGER NOT NULL DEFAULT 0, turned INTEGER NOT NULL DEFAULT 0,"
    " cleaned INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX zones_open ON zones(id) WHERE cleaned = 0;"
    "CREATE TABLE counters(" LLM_COUNTER_DEFINITIONS ", rest INTEGER, PRIMARY KEY(kind, name)) WITHOUT ROWID;"
    "CREATE INDEX counters_rest ON counters(rest) WHERE rest IS NOT NULL;"
    "CREATE TABLE base(zone INTEGER NOT NULL," LLM_COUNTER_DEFINITIONS
    ", PRIMARY KEY(zone, kind, name)) WITHOUT ROWID;"
    "CREATE TABLE carry(zone INTEGER NOT NULL, number INTEGER NOT NULL," LLM_COUNTER_DEFINITIONS
    ", PRIMARY KEY(zone, number)) WITHOUT ROWID;"
    "CREATE INDEX carry_whose ON carry(zone, kind, name);"
    "CREATE TABLE running(zone INTEGER NOT NULL, serial INTEGER NOT NULL, key TEXT NOT NULL, user TEXT NOT "
    "NULL,"
    " model TEXT NOT NULL, began INTEGER NOT NULL, updated INTEGER NOT NULL, prompt INTEGER NOT NULL,"
    " cached INTEGER NOT NULL, completion INTEGER NOT NULL, reasoning INTEGER NOT NULL, cache_write INTEGER "
    "NOT NULL,"
    " cost INTEGER NOT NULL, holds BLOB NOT NULL, PRIMARY KEY(zone, serial)) WITHOUT ROWID;"
    "CREATE TABLE series(zone INTEGER NOT NULL, serial INTEGER NOT NULL, model TEXT NOT NULL," LLM_USED
    ", PRIMARY KEY(zone, serial)) WITHOUT ROWID;";

// Since format 2: where there is too much for rows of their own.
constexpr const char* packed =
    "CREATE TABLE journal(number INTEGER PRIMARY KEY, zone INTEGER NOT NULL, at INTEGER NOT NULL,"
    " subjects BLOB NOT NULL, series BLOB NOT NULL);"
    "CREATE TABLE running_packed(zone INTEGER PRIMARY KEY, updated INTEGER NOT NULL, requests BLOB NOT "
    "NULL);";

constexpr const char* ledger =
    "CREATE TABLE usage(hour INTEGER NOT NULL, key TEXT NOT NULL, user TEXT NOT NULL, model TEXT NOT NULL,"
    " zone INTEGER NOT NULL," LLM_USED
    ", requests INTEGER AS (requests_ok + requests_incomplete + requests_refused + requests_client_abort"
    " + requests_upstream_error + requests_cut + requests_lost),"
    " PRIMARY KEY(hour, key, user, model, zone)) WITHOUT ROWID;"
    "CREATE VIEW usage_by_outcome AS"
    " SELECT hour, key, user, model, zone, 'ok' AS outcome, requests_ok AS requests FROM usage WHERE "
    "requests_ok"
    " UNION ALL SELECT hour, key, user, model, zone, 'incomplete', requests_incomplete FROM usage"
    " WHERE requests_incomplete"
    " UNION ALL SELECT hour, key, user, model, zone, 'refused', requests_refused FROM usage WHERE "
    "requests_refused"
    " UNION ALL SELECT hour, key, user, model, zone, 'client_abort', requests_client_abort FROM usage"
    " WHERE requests_client_abort"
    " UNION ALL SELECT hour, key, user, model, zone, 'upstream_error', requests_upstream_error FROM usage"
    " WHERE requests_upstream_error"
    " UNION ALL SELECT hour, key, user, model, zone, 'cut', requests_cut FROM usage WHERE requests_cut"
    " UNION ALL SELECT hour, key, user, model, zone, 'lost', requests_lost FROM usage WHERE requests_lost;";

// Format 0 had hours since 1970, no zones, no outcomes but two, and totals of keys and users alone.
constexpr const char* from_0 = "ALTER TABLE usage RENAME TO usage_0;"
                               "ALTER TABLE counters RENAME TO counters_0;"
                               "DROP TABLE meta;";
constexpr const char* from_0_rows =
    "INSERT INTO usage(hour, key, user, model, zone, requests_ok, requests_incomplete, requests_refused,"
    " requests_client_abort, requests_upstream_error, requests_cut, requests_lost, prompt, cached, "
    "completion,"
    " reasoning, cache_write, cost)"
    " SELECT hour * 3600, key, user, model, 0, requests - refused, 0, refused, 0, 0, 0, 0, prompt, cached, "
    "completion,"
    " 0, 0, cost FROM usage_0;"
    "INSERT INTO counters(" LLM_COUNTER_COLUMNS ")"
    " SELECT kind, name, '', requests, prompt, cached, completion, 0, 0, 0, 0, quota_day, quota_at, 0, 0, "
    "quota_month,"
    " quota_at, quota_total, quota_at, NULL, NULL, 0, 0, updated FROM counters_0;"
    "DROP TABLE usage_0; DROP TABLE counters_0;";

int64_t one_number(database& db, const char* sql)
{
    query q(db, sql);
    return q.row() ? q.integer(0) : 0;
}

} // namespace

schema_version version_of(database& db)
{
    const int64_t application = one_number(db, "PRAGMA application_id");
    const int64_t format = one_number(db, "PRAGMA user_version");
    const int64_t objects = one_number(db, "SELECT count(*) FROM sqlite_schema");
    if (!db.ok()) {
        return {};
    }
    if (objects == 0 && application == 0 && format == 0) {
        return {state_fault::none, {}, true};
    }
    if (application != application_id) {
        return {state_fault::not_ours, "is a database of another program; it is left as it is", false};
    }
    if (format > state_format || format < 0) {
        return {state_fault::too_new,
                "has format " + std::to_string(format) + ", this version of nginx-llm knows formats up to "
                    + std::to_string(state_format) + "; it is left as it is",
                false};
    }
    return {state_fault::none, {}, format < state_format};
}

void bring_up_to_date(database& db)
{
    // Another process may have done it while this one waited for the lock.
    if (!version_of(db).is_old || !db.ok()) {
        return;
    }
    const bool is_empty = one_number(db, "PRAGMA application_id") != application_id;
    const bool is_0 = !is_empty && one_number(db, "PRAGMA user_version") == 0;
    if (is_0) {
        db.run(from_0);
    }
    if (is_empty || is_0) {
        db.run(tables);
        db.run(ledger);
        query(db, "INSERT INTO meta VALUES('created', ?)")
            .bind(static_cast<int64_t>(time(nullptr)) * 1000)
            .run();
    }
    if (is_0) {
        db.run(from_0_rows);
    }
    db.run(packed);
    db.run("PRAGMA application_id = 1819045235");
    db.run("PRAGMA user_version = 2");
}

} // namespace llm
