// What tests of the state on disk have in common: a directory of their own, a look into the database, and a
// gateway that keeps its state there.
#pragma once

#include "shared_zone.h"

#include "state/state_store.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sqlite3.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace llm {

class temp_dir {
public:
    temp_dir()
    {
        char name[] = "/tmp/llm_state_XXXXXX";
        path_ = mkdtemp(name);
    }
    ~temp_dir() { std::filesystem::remove_all(path_); }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

using table_rows = std::vector<std::vector<std::string>>;

inline table_rows rows_of(const std::string& path, const std::string& sql)
{
    table_rows rows;
    sqlite3* db = nullptr;
    sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr);
    sqlite3_busy_timeout(db, 10000);
    char* error = nullptr;
    sqlite3_exec(
        db, sql.c_str(),
        [](void* to, int n, char** values, char**) {
            auto& row = static_cast<table_rows*>(to)->emplace_back();
            for (int i = 0; i < n; i++) {
                row.emplace_back(values[i] ? values[i] : "NULL");
            }
            return 0;
        },
        &rows, &error);
    EXPECT_EQ(error, nullptr) << error << ": " << sql;
    sqlite3_free(error);
    sqlite3_close(db);
    return rows;
}

inline int64_t number_of(const std::string& path, const std::string& sql)
{
    const table_rows rows = rows_of(path, sql);
    return rows.empty() || rows[0].empty() || rows[0][0] == "NULL" ? 0 : std::stoll(rows[0][0]);
}

// Masters that are gone, by their pid.
inline std::set<uint32_t> gone_masters;

struct sums {
    uint64_t requests = 0, prompt = 0, completion = 0, quota = 0;

    void add(const sums& more)
    {
        requests += more.requests;
        prompt += more.prompt;
        completion += more.completion;
        quota += more.quota;
    }
    bool operator==(const sums&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const sums& s)
{
    return out << s.requests << " requests, " << s.prompt << " + " << s.completion << " tokens, quota "
               << s.quota;
}

using sums_by_name = std::map<std::string, sums>;

// A zone with keys and limits of all kinds, and what nginx's processes do to it. Its lock is one that the
// death of its holder leaves, as nginx's master frees it.
class gateway {
public:
    static constexpr uint64_t second = 1000000000;
    // 29 February 2024, 12:00 UTC.
    static constexpr int64_t noon = 1709208000000;

    gateway(std::string path, uint32_t pid, uint32_t parent = 0, size_t keys = 8, size_t bytes = 1 << 20)
        : zone(bytes, {pid * 7919u, pid + 11u}), options{.path = std::move(path),
                                                         .by = {"llm", pid, pid, parent, &is_gone},
                                                         .keep_seconds = 0,
                                                         .turn_ms = 1000,
                                                         .many_changes = many_changes(),
                                                         .wait_ms = 2000},
          lock_(static_cast<std::atomic<int>*>(
              mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)))
    {
        limits l;
        l.quota = 1000000000;
        l.window = quota_window::day;
        l.tokens = {600000000, 60000};
        for (subject_kind kind : {subject_kind::key, subject_kind::user, subject_kind::model,
                                  subject_kind::address, subject_kind::zone}) {
            rules.push_back({kind, l});
        }
        zone.publish(file_of("keys.json", keys));
        (*this)([&] { zone->set_needed(keys * 2); });
        start();
    }
    ~gateway() { munmap(lock_, 4096); }

    // LLM_MANY_CHANGES=n: the journal is written where more than 0 to n changed, a different number for each.
    static size_t many_changes()
    {
        static std::mt19937 random(9);
        const char* asked = getenv("LLM_MANY_CHANGES");
        return asked ? random() % (strtoul(asked, nullptr, 10) + 1) : state_options().many_changes;
    }
    static bool is_gone(uint32_t pid, uint64_t) { return gone_masters.contains(pid); }

    // Begins as another keeper would.
    void start() { store = std::make_unique<state_store>(options); }

    // With the zone locked.
    template <class F>
    void operator()(F&& f)
    {
        int free = 0;
        while (!lock_->compare_exchange_weak(free, getpid())) {
            free = 0;
        }
        zone->enter();
        f();
        zone->leave();
        lock_->store(0);
    }
    void free_lock_of(int pid) { lock_->compare_exchange_strong(pid, 0); }

    state_result restore() { return store->restore(*zone.operator->(), now, *this); }
    state_result turn() { return store->turn(*zone.operator->(), now, *this); }
    // Of this zone.
    int64_t journal_rows()
    {
        return number_of(options.path,
                         "SELECT count(*) FROM journal WHERE zone = (SELECT id FROM zones WHERE identity = "
                             + std::to_string(identity_of(*zone.operator->())) + ")");
    }
    // Turns until there is nothing more, and all of it is in the tables.
    void write()
    {
        for (int i = 0; i < 1000; i++) {
            const state_result r = turn();
            ASSERT_TRUE(r.ok()) << r.text;
            if (!r.more && journal_rows() == 0) {
                return;
            }
        }
        FAIL() << "there is always more";
    }
    state_result close() { return store->close(*zone.operator->(), now, *this); }

    lease* begin(uint64_t key, std::string_view model = "m")
    {
        lease* l = nullptr;
        admission_request r = zone.request(key, model);
        r.now_ns = now.ns;
        r.now_ms = now.unix_ms;
        r.rules = rules;
        r.estimate = 100;
        (*this)([&] { l = zone.admit(r).taken; });
        if (l) {
            l->set_answered();
        }
        return l;
    }
    void end(lease* l, const token_counts& used, outcome is = outcome::ok)
    {
        (*this)([&] { zone->settle(*l, used, now, {.is = is}); });
    }
    void use(uint64_t key, uint64_t prompt, uint64_t completion, std::string_view model = "m")
    {
        lease* l = begin(key, model);
        ASSERT_NE(l, nullptr);
        end(l, {prompt, 0, completion, 0, 0});
    }

    // What the zone has counted of keys.
    sums_by_name by_key() const
    {
        sums_by_name all;
        const subject_table& subjects = zone->subjects();
        for (uint32_t i = 0; (i = subjects.used_from(i)) != no_index; i++) {
            const subject& s = subjects.at(i);
            if (s.kind == subject_kind::key) {
                all[std::string(s.name())] = {s.counts.totals.requests, s.counts.totals.prompt,
                                              s.counts.totals.completion,
                                              s.counts.used_in(quota_window::day, hour_of(now.unix_ms))};
            }
        }
        return all;
    }

    shared_zone zone;
    state_options options;
    std::unique_ptr<state_store> store;
    std::vector<limit_rule> rules;
    moment now{1000 * second, noon};

private:
    std::atomic<int>* lock_;
};

// What the file has of keys: the counters, and what is still to be added to them.
inline sums_by_name counters_by_key(const std::string& path)
{
    sums_by_name all;
    for (const char* table : {"counters", "carry"}) {
        for (const auto& r :
             rows_of(path, std::string("SELECT name, requests, prompt, completion, quota_day FROM ") + table
                               + " WHERE kind = 'key'")) {
            all[r[0]].add({std::stoull(r[1]), std::stoull(r[2]), std::stoull(r[3]), std::stoull(r[4])});
        }
    }
    return all;
}

// The same of the ledger; its quota is the cost.
inline sums_by_name usage_by_key(const std::string& path, const std::string& where = "1")
{
    sums_by_name all;
    for (const auto& r :
         rows_of(path, "SELECT key, sum(requests), sum(prompt), sum(completion), sum(cost) FROM usage"
                       " WHERE "
                           + where + " GROUP BY key")) {
        all[r[0]] = {std::stoull(r[1]), std::stoull(r[2]), std::stoull(r[3]), std::stoull(r[4])};
    }
    return all;
}

inline sums total(const sums_by_name& all)
{
    sums sum;
    for (const auto& [name, s] : all) {
        sum.add(s);
    }
    return sum;
}

inline void no_empty(sums_by_name& all)
{
    std::erase_if(all, [](const auto& each) { return each.second == sums{}; });
}

inline void same_sums(sums_by_name a, sums_by_name b, const char* what)
{
    no_empty(a);
    no_empty(b);
    EXPECT_EQ(a.size(), b.size()) << what;
    for (const auto& [name, s] : a) {
        EXPECT_EQ(s, b[name]) << what << ": " << name;
    }
}

} // namespace llm
