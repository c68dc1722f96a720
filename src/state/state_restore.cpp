#include "state_restore.h"

#include "schema.h"

#include <memory>
#include <vector>

namespace llm {

namespace {

// Records that are put back with the zone locked once.
constexpr size_t slice = 64;
// Rows of `carry` that a turn imports.
constexpr int64_t most_carried = 1024;
// What is carried over within this time owes what it owed: it has not flowed off, but waited behind more.
constexpr int64_t soon_ms = 5000;

// Adds those of this kind that have a row, but no record.
void find_homeless(state_turn& w, subject_kind kind, std::vector<subject_state>& to)
{
    query q(w.db, "SELECT " LLM_COUNTER_COLUMNS " FROM counters WHERE kind = ?");
    q.bind(kind_name(kind));
    std::vector<subject_state> some;
    for (bool at_end = false; !at_end;) {
        some.clear();
        while (some.size() < slice && (at_end = !q.row()) == false) {
            some.push_back(read_state(q, 0));
        }
        w.lock([&] {
            std::erase_if(some, [&](const subject_state& s) {
                return w.zone.subjects().find(s.kind, s.name()) != no_index;
            });
        });
        to.insert(to.end(), some.begin(), some.end());
    }
}

// Names of clients that found no room for a record of their own are counted in what they share, and are rows
// of their own no more. A user that an application named may be one of the key file by now, and is counted
// there.
void end_restore(state_turn& w)
{
    std::vector<subject_state> names;
    for (auto kind = subject_kind::key; kind <= last_kind; kind = static_cast<subject_kind>(int(kind) + 1)) {
        if (named_by_clients(kind) && !is_shared_kind(kind)) {
            find_homeless(w, kind, names);
        }
    }
    std::unique_ptr<subject_export> all;
    w.lock([&] { all = std::make_unique<subject_export>(w.zone.begin_export(0)); });
    if (!names.empty()) {
        for (const subject_state& s : names) {
            query q(w.db, "DELETE FROM counters WHERE kind = ? AND name = ?");
            q.bind(kind_name(s.kind));
            bind_name(q, s.kind, s.name());
            q.run();
        }
        for (auto some = all->next(w.now, w.lock); !some.empty(); some = all->next(w.now, w.lock)) {
            for (const subject_state& s : some) {
                if (is_shared_kind(s.kind) || s.kind == subject_kind::user) {
                    put_counter(w.db, s);
                }
            }
        }
    }
    w.row.restored = true;
    // What nobody has used since is in the table as it is.
    w.row.subject_mark = w.is == turn_is::first ? all->mark() : 0;
    w.wrote = true;
}

} // namespace

void restore_counters(state_turn& w)
{
    uint64_t imported = 0;
    w.lock([&] { imported = w.zone.imported(); });
    const uint64_t done = imported - w.row.imported_before;
    if (done < w.row.to_restore) {
        query q(w.db, "SELECT " LLM_COUNTER_COLUMNS " FROM counters ORDER BY kind, name LIMIT -1 OFFSET ?");
        q.count(done);
        std::vector<subject_state> states;
        bool at_end = false;
        for (bool any = false; !at_end && (!any || !w.is_late()); any = true) {
            states.clear();
            while (states.size() < slice && (at_end = !q.row()) == false) {
                states.push_back(read_state(q, 0));
            }
            if (!w.db.ok()) {
                return;
            }
            w.lock([&] {
                for (const subject_state& s : states) {
                    w.zone.import(s, w.now);
                }
            });
        }
        if (!at_end) {
            w.more = true;
            return;
        }
    }
    end_restore(w);
}

void import_carried(state_turn& w)
{
    uint64_t imported = 0;
    w.lock([&] { imported = w.zone.imported(); });
    w.carried = static_cast<int64_t>(imported - w.row.imported_before - w.row.to_restore);
    {
        query q(w.db, "SELECT EXISTS(SELECT 1 FROM carry WHERE zone = ?)");
        w.has_carry = q.bind(w.row.id).row() && q.integer(0) != 0;
    }
    if (!w.has_carry) {
        return;
    }
    query q(w.db, "SELECT " LLM_COUNTER_COLUMNS
                  " FROM carry WHERE zone = ? AND number > ? ORDER BY number LIMIT ?");
    q.bind(w.row.id).bind(w.carried).bind(most_carried);
    std::vector<subject_state> states;
    int64_t n = 0;
    for (bool at_end = false; !at_end;) {
        states.clear();
        while (states.size() < slice && (at_end = !q.row()) == false) {
            states.push_back(read_state(q, 0));
            subject_state& s = states.back();
            if (s.unix_ms <= w.now.unix_ms && w.now.unix_ms - s.unix_ms < soon_ms) {
                s.unix_ms = w.now.unix_ms;
            }
        }
        if (!w.db.ok()) {
            return;
        }
        w.lock([&] {
            for (const subject_state& s : states) {
                w.zone.import(s, w.now);
            }
        });
        n += static_cast<int64_t>(states.size());
    }
    w.carried += n;
    w.more |= n == most_carried;
    w.wrote |= n != 0;
}

} // namespace llm
