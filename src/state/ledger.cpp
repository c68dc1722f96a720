#include "ledger.h"

#include <algorithm>
#include <array>

namespace llm {

namespace {

constexpr size_t numbers = outcomes + 6;
// Rows that are deleted in a turn.
constexpr int64_t few_rows = 500;
// Folds may come between as often before others are left for another turn.
constexpr int most_tries = 4;

#define LLM_USED_COLUMNS                                                                                     \
    "requests_ok, requests_incomplete, requests_refused, requests_client_abort, requests_upstream_error, "   \
    "requests_cut, requests_lost, prompt, cached, completion, reasoning, cache_write, cost"
#define LLM_USED_VALUES "?,?,?,?,?,?,?,?,?,?,?,?,?"

std::array<uint64_t, numbers> all_of(const used_counts& c)
{
    std::array<uint64_t, numbers> all;
    std::copy(std::begin(c.requests), std::end(c.requests), all.begin());
    const uint64_t rest[] = {c.tokens.prompt,    c.tokens.cached,      c.tokens.completion,
                             c.tokens.reasoning, c.tokens.cache_write, c.cost};
    std::copy(std::begin(rest), std::end(rest), all.begin() + outcomes);
    return all;
}

used_counts read_counts(const query& from, int column)
{
    used_counts c;
    for (uint64_t& n : c.requests) {
        n = from.number(column++);
    }
    c.tokens.prompt = from.number(column++);
    c.tokens.cached = from.number(column++);
    c.tokens.completion = from.number(column++);
    c.tokens.reasoning = from.number(column++);
    c.tokens.cache_write = from.number(column++);
    c.cost = from.number(column);
    return c;
}

void bind_counts(query& to, const used_counts& c)
{
    for (const uint64_t n : all_of(c)) {
        to.count(n);
    }
}

ledger_entry entry_of(const series_copy& c)
{
    ledger_entry e{.serial = c.serial,
                   .of_others = c.key() == book::other_name && c.user() == book::other_name,
                   .key = std::string(c.key()),
                   .user = std::string(c.user()),
                   .model = std::string(c.model()),
                   .counts = {}};
    std::copy(c.counts.requests.begin(), c.counts.requests.end(), e.counts.requests);
    e.counts.tokens = c.counts.tokens;
    e.counts.cost = c.counts.cost;
    return e;
}

uint64_t folds_of(const shared_state& zone, const zone_lock& lock)
{
    uint64_t folds = 0;
    lock([&] { folds = zone.counted().folds(); });
    return folds;
}

// Without the lock: it is known to be right if there was no fold meanwhile.
std::vector<uint64_t> live_serials(const book& counted)
{
    std::vector<uint64_t> live;
    const book_table<book_series>& table = counted.series();
    for (uint32_t i = 0; i < table.high_water(); i++) {
        if (table.is_made(i)) {
            live.push_back(__atomic_load_n(&table.at(i).serial, __ATOMIC_RELAXED));
        }
    }
    std::sort(live.begin(), live.end());
    return live;
}

// Those into which others are folded, as they are after all folds that are known then.
void copy_others(const shared_state& zone, const zone_lock& lock, uint64_t folds, ledger_pass& to)
{
    std::array<series_copy, max_slice_of_book> copies;
    const uint64_t before = folds_of(zone, lock);
    to.others.clear();
    to.live.clear();
    book_cursor at;
    while (const size_t n = copy_other_series(zone.counted(), at, to.others_since, copies, lock)) {
        for (size_t i = 0; i < n; i++) {
            to.others.push_back(entry_of(copies[i]));
        }
    }
    if (before != folds) {
        to.live = live_serials(zone.counted());
    }
    to.folds = folds_of(zone, lock);
    to.has_others = to.folds == before;
}

used_counts written_of(database& db, int64_t zone, uint64_t serial)
{
    query q(db, "SELECT " LLM_USED_COLUMNS " FROM series WHERE zone = ? AND serial = ?");
    q.bind(zone).count(serial);
    return q.row() ? read_counts(q, 0) : used_counts{};
}

void put_written(database& db, int64_t zone, const ledger_entry& e)
{
    query q(db, "INSERT OR REPLACE INTO series(zone, serial, model, " LLM_USED_COLUMNS
                ") VALUES(?,?,?," LLM_USED_VALUES ")");
    q.bind(zone).count(e.serial).bind(e.model);
    bind_counts(q, e.counts);
    q.run();
}

void write_entry(database& db, int64_t zone, const ledger_entry& e, const used_counts& more, int64_t now_ms)
{
    if (more.any()) {
        add_to_ledger(db, zone, e.key, e.user, e.model, more, now_ms);
    }
    put_written(db, zone, e);
}

struct folded {
    uint64_t serial;
    std::string model;
    used_counts written;
};

std::vector<folded> find_folded(database& db, int64_t zone, const std::vector<uint64_t>& live)
{
    std::vector<folded> gone;
    query q(db, "SELECT serial, model, " LLM_USED_COLUMNS " FROM series WHERE zone = ?");
    q.bind(zone);
    while (q.row()) {
        const uint64_t serial = q.number(0);
        if (!std::binary_search(live.begin(), live.end(), serial)) {
            gone.push_back({serial, std::string(q.text(1)), read_counts(q, 2)});
        }
    }
    return gone;
}

// What was written of a series that is gone is taken off of what is new of the one that has its counts now,
// and is that one's from here on.
void write_others(database& db, int64_t zone, const ledger_pass& pass, int64_t now_ms)
{
    struct other {
        const ledger_entry* entry;
        used_counts more;
        bool takes = false;
    };
    std::vector<other> others;
    for (const ledger_entry& e : pass.others) {
        other o{&e, e.counts};
        if (o.more.take_off(written_of(db, zone, e.serial))) {
            others.push_back(o);
        }
    }
    if (!pass.live.empty()) {
        for (const folded& gone : find_folded(db, zone, pass.live)) {
            bool taken = false;
            for (const std::string_view model : {std::string_view(gone.model), book::other_name}) {
                for (other& o : others) {
                    if (!taken && o.entry->model == model && o.more.take_off(gone.written)) {
                        o.takes = taken = true;
                    }
                }
            }
            if (taken) {
                query(db, "DELETE FROM series WHERE zone = ? AND serial = ?")
                    .bind(zone)
                    .count(gone.serial)
                    .run();
            }
        }
    }
    for (const other& o : others) {
        if (o.takes || o.more.any()) {
            write_entry(db, zone, *o.entry, o.more, now_ms);
        }
    }
}

} // namespace

bool used_counts::any() const
{
    const auto all = all_of(*this);
    return std::any_of(all.begin(), all.end(), [](uint64_t n) { return n != 0; });
}

bool used_counts::take_off(const used_counts& less)
{
    const auto mine = all_of(*this);
    const auto its = all_of(less);
    if (!std::equal(mine.begin(), mine.end(), its.begin(), std::greater_equal<uint64_t>())) {
        return false;
    }
    for (size_t i = 0; i < outcomes; i++) {
        requests[i] -= less.requests[i];
    }
    tokens.prompt -= less.tokens.prompt;
    tokens.cached -= less.tokens.cached;
    tokens.completion -= less.tokens.completion;
    tokens.reasoning -= less.tokens.reasoning;
    tokens.cache_write -= less.tokens.cache_write;
    cost -= less.cost;
    return true;
}

ledger_pass begin_pass(shared_state& zone, const zone_lock& lock, uint64_t since)
{
    ledger_pass pass;
    pass.since = pass.others_since = since;
    lock([&] { pass.next = zone.next_mark_of_book(); });
    return pass;
}

void copy_series(const shared_state& zone, const zone_lock& lock, uint64_t folds, size_t most,
                 ledger_pass& to)
{
    std::array<series_copy, max_slice_of_book> copies;
    while (!to.at_end && to.entries.size() < most) {
        const size_t n = copy_series(zone.counted(), to.at, to.since, copies, lock);
        to.at_end = n == 0;
        for (size_t i = 0; i < n; i++) {
            ledger_entry e = entry_of(copies[i]);
            if (!e.of_others) {
                to.entries.push_back(std::move(e));
            }
        }
    }
    to.has_others = false;
    for (int tries = 0; tries < most_tries && !to.has_others; tries++) {
        copy_others(zone, lock, folds, to);
    }
}

bool write_series(database& db, int64_t zone, ledger_pass& from, uint64_t& folds, int64_t now_ms)
{
    for (const ledger_entry& e : from.entries) {
        write_absolute(db, zone, e, now_ms);
    }
    from.entries.clear();
    if (from.has_others) {
        write_others(db, zone, from, now_ms);
        folds = from.folds;
    }
    return from.at_end && from.has_others;
}

void write_absolute(database& db, int64_t zone, const ledger_entry& e, int64_t at_ms)
{
    used_counts more = e.counts;
    if (more.take_off(written_of(db, zone, e.serial)) && more.any()) {
        write_entry(db, zone, e, more, at_ms);
    }
}

void add_to_ledger(database& db, int64_t zone, std::string_view key, std::string_view user,
                   std::string_view model, const used_counts& counts, int64_t at_ms)
{
    query q(db,
            "INSERT INTO usage(hour, key, user, model, zone, " LLM_USED_COLUMNS
            ") VALUES(?,?,?,?,?," LLM_USED_VALUES
            ") ON CONFLICT DO UPDATE SET requests_ok = requests_ok + excluded.requests_ok,"
            " requests_incomplete = requests_incomplete + excluded.requests_incomplete,"
            " requests_refused = requests_refused + excluded.requests_refused,"
            " requests_client_abort = requests_client_abort + excluded.requests_client_abort,"
            " requests_upstream_error = requests_upstream_error + excluded.requests_upstream_error,"
            " requests_cut = requests_cut + excluded.requests_cut,"
            " requests_lost = requests_lost + excluded.requests_lost, prompt = prompt + excluded.prompt,"
            " cached = cached + excluded.cached, completion = completion + excluded.completion,"
            " reasoning = reasoning + excluded.reasoning, cache_write = cache_write + excluded.cache_write,"
            " cost = cost + excluded.cost");
    q.bind(int64_t{hour_of(at_ms)} * 3600).bind(key).bind(user).bind(model).bind(zone);
    bind_counts(q, counts);
    q.run();
}

bool forget_before(database& db, int64_t before_ms)
{
    query(db, "DELETE FROM usage WHERE (hour, key, user, model, zone) IN"
              " (SELECT hour, key, user, model, zone FROM usage WHERE hour < ? LIMIT ?)")
        .bind(int64_t{hour_of(before_ms)} * 3600)
        .bind(few_rows)
        .run();
    return db.ok() && db.changes() == few_rows;
}

} // namespace llm
