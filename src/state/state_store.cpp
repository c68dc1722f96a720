#include "state_store.h"

#include "journal.h"
#include "schema.h"
#include "state_restore.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <thread>

namespace llm {

namespace {

using clock = state_turn::clock;

// Rows of what is at rest that a turn deletes.
constexpr int64_t few_rows = 500;
constexpr size_t least_records = 64;
constexpr size_t most_records = 16384;
// Times that what has changed is copied again for a long request that has ended meanwhile.
constexpr int more_rounds = 3;

clock::time_point after(unsigned ms)
{
    return clock::now() + std::chrono::milliseconds(ms);
}

bool has_workers(const state_turn& w)
{
    bool has = false;
    w.lock([&] { has = w.zone.has_owners(); });
    return has;
}

} // namespace

void state_store::forget()
{
    turns_ = -1;
    subjects_.reset();
    series_.reset();
    folder_.forget();
}

state_result state_store::check()
{
    state_result looked = db_.look(options_.path);
    if (looked.ok() && db_.is_open()) {
        const uint32_t stranger = stranger_in(db_, options_.by);
        if (db_.ok() && stranger != 0) {
            looked = in_use_by(stranger, options_.path + " ");
        }
    }
    db_.close();
    return looked;
}

state_result state_store::begin()
{
    if (db_.is_open() && !db_.is_in_place()) {
        db_.leave();
        forget();
    }
    if (!db_.is_open()) {
        forget();
        state_result opened = db_.open(options_.path);
        if (!opened.ok()) {
            return opened;
        }
    }
    return db_.begin() ? state_result() : db_.end();
}

// The row of this zone, which is made where there is none.
state_result state_store::find_own(state_turn& w)
{
    if (!find_zone(db_, identity_of(w.zone), w.row) && db_.ok()) {
        uint64_t imported = 0;
        w.lock([&] { imported = w.zone.imported(); });
        state_result opened = open_zone(db_, options_.by, w.zone, imported, w.now.unix_ms, w.row);
        if (!opened.ok()) {
            opened.text = options_.path + " " + opened.text;
            return opened;
        }
        forget();
        w.wrote = w.is_opened = true;
    }
    w.current = current_zone(db_);
    // Another process of the same master has been the last one before, and has left nothing to do where no
    // worker has come since.
    w.is_over = w.row.closed && !w.row.lost && !w.is_current() && !has_workers(w);
    if (w.is_over) {
        return {};
    }
    if (w.row.lost || (w.row.closed && !w.is_current())) {
        return {state_fault::closed,
                options_.path + ": another nginx has taken this one for gone, and goes on alone", false};
    }
    if (w.row.closed) {
        query(db_, "UPDATE zones SET closed = NULL WHERE id = ?").bind(w.row.id).run();
        w.wrote = true;
    }
    if (w.row.turns != turns_) {
        forget();
        running_is_empty_ = false;
        set_master(db_, w.row.id, options_.by);
        w.wrote |= db_.changes() != 0;
    }
    return {};
}

// --- what is to be kept

void state_store::copy_subjects(state_turn& w, size_t most)
{
    w.subjects_whole = false;
    while (w.states.size() < most) {
        const std::span<const subject_state> some = subjects_->next(w.now, w.lock);
        if (some.empty()) {
            w.subjects_whole = true;
            return;
        }
        w.states.insert(w.states.end(), some.begin(), some.end());
    }
    w.capped = true;
}

// The next pass over the book, which has what is left of this one.
void state_store::renew_series(state_turn& w)
{
    auto again = std::make_unique<ledger_pass>(begin_pass(w.zone, w.lock, series_->next));
    again->others_since = series_->others_since;
    again->entries = std::move(series_->entries);
    series_ = std::move(again);
}

void state_store::copy(state_turn& w)
{
    w.running = copy_running(w.zone, w.lock);
    if (!subjects_) {
        w.lock(
            [&] { subjects_ = std::make_unique<subject_export>(w.zone.begin_export(w.row.subject_mark)); });
        carried_at_begin_ = w.carried;
    }
    if (!series_) {
        series_ = std::make_unique<ledger_pass>(begin_pass(w.zone, w.lock, w.row.series_mark));
    }
    copy_subjects(w, most_);
    copy_series(w.zone, w.lock, w.row.folds, most_, *series_);
    w.capped |= !series_->at_end;
    for (int round = 0; drop_ended(w.running, w.zone, w.lock, w.now.unix_ms) && round < more_rounds;
         round++) {
        if (!w.subjects_whole || !series_->at_end) {
            continue;
        }
        const uint64_t mark = subjects_->mark();
        w.lock([&] { subjects_ = std::make_unique<subject_export>(w.zone.begin_export(mark)); });
        copy_subjects(w, w.states.size() + most_);
        renew_series(w);
        copy_series(w.zone, w.lock, w.row.folds, series_->entries.size() + most_, *series_);
    }
}

void state_store::write_subject(state_turn& w, const subject_state& s, carrier& to)
{
    if (w.is_current()) {
        put_counter(db_, s);
    } else {
        subject_state base{};
        get_base(db_, w.row.id, s, base);
        const subject_state more = difference(s, base, w.row.turned_ms);
        if (!is_nothing(more)) {
            to.put(more);
        }
        put_base(db_, w.row.id, s);
    }
    drop_carried(w, s);
}

// That which this state has been given.
void state_store::drop_carried(const state_turn& w, const subject_state& s)
{
    if (w.has_carry) {
        query q(db_, "DELETE FROM carry WHERE zone = ? AND kind = ? AND name = ? AND number <= ?");
        q.bind(w.row.id).bind(kind_name(s.kind));
        bind_name(q, s.kind, s.name());
        q.bind(w.carried).run();
    }
}

bool state_store::write_to_tables(state_turn& w)
{
    {
        carrier to(db_, w.current);
        for (const subject_state& s : w.states) {
            write_subject(w, s, to);
        }
    }
    return write_series(db_, w.row.id, *series_, w.row.folds, w.now.unix_ms);
}

bool state_store::write_to_journal(state_turn& w)
{
    for (const subject_state& s : w.states) {
        drop_carried(w, s);
    }
    ledger_pass& pass = *series_;
    const bool with_others = pass.has_others && pass.live.empty();
    if (with_others) {
        std::move(pass.others.begin(), pass.others.end(), std::back_inserter(pass.entries));
        w.row.folds = pass.folds;
    }
    if (!w.states.empty() || !pass.entries.empty()) {
        folder_.append(db_, w.row.id, w.states, pass.entries, w.now.unix_ms);
    }
    pass.entries.clear();
    if (pass.at_end && !with_others) {
        renew_series(w);
        return false;
    }
    return pass.at_end;
}

void state_store::write(state_turn& w)
{
    const size_t changes = w.states.size() + series_->entries.size() + series_->others.size();
    // What was folded is found in the tables alone. At the end all is in them, for whoever reads them.
    const bool needs_tables = w.is == turn_is::last || (series_->has_others && !series_->live.empty());
    bool has_journal = false;
    if (w.is_current()) {
        has_journal = folder_.turn(
            db_, {w.now.unix_ms, options_.turn_ms, needs_tables, changes <= options_.many_changes}, w);
    } else {
        folder_.forget();
    }
    w.wrote |= changes != 0;
    const bool to_journal =
        has_journal || (w.is_current() && !needs_tables && changes > options_.many_changes);
    const bool series_whole = to_journal ? write_to_journal(w) : write_to_tables(w);
    if (w.subjects_whole) {
        w.row.subject_mark = subjects_->mark();
        subjects_.reset();
        // Those of names that have no record of their own here.
        if (w.has_carry) {
            query(db_, "DELETE FROM carry WHERE zone = ? AND number <= ?")
                .bind(w.row.id)
                .bind(carried_at_begin_)
                .run();
        }
    }
    if (series_whole) {
        w.row.series_mark = series_->next;
        series_.reset();
    } else {
        w.more = true;
    }
    if (!w.running.empty() || !running_is_empty_) {
        put_running(db_, w.row.id, w.running, w.now.unix_ms);
        running_is_empty_ = w.running.empty();
        w.wrote = true;
    }
    w.more |= !w.subjects_whole;
}

// What nobody needs any more, a little of it.
void state_store::tidy(state_turn& w)
{
    if (options_.keep_seconds > 0 && forget_before(db_, w.now.unix_ms - options_.keep_seconds * 1000)) {
        w.more = true;
    }
    w.wrote |= db_.ok() && options_.keep_seconds > 0 && db_.changes() != 0;
    if (!w.is_current()) {
        return;
    }
    query(
        db_,
        "DELETE FROM counters WHERE (kind, name) IN (SELECT kind, name FROM counters WHERE rest < ? LIMIT ?)")
        .bind(w.now.unix_ms / 60000)
        .bind(few_rows)
        .run();
    w.wrote |= db_.ok() && db_.changes() != 0;
    clean_closed(db_);
}

state_result state_store::do_turn(state_turn& w)
{
    state_result own = find_own(w);
    if (!own.ok() || w.is_over) {
        return own;
    }
    if (w.is_opened) {
        // How many were imported before has to be in safety before another is.
        w.more = true;
        return {};
    }
    if (!w.row.restored) {
        restore_counters(w);
    }
    if (w.row.restored && db_.ok()) {
        if (w.is_current()) {
            close_lost(db_, options_.by, w.row.id, w.now.unix_ms);
        }
        import_carried(w);
        copy(w);
        write(w);
        tidy(w);
    }
    return {};
}

// By the time of this process alone: how busy the machine is says nothing of the work.
void state_store::adapt(const state_turn& w)
{
    const uint64_t took = state_turn::cpu_ms() - w.began_ms - w.fold_cpu_ms;
    if (took > options_.turn_ms) {
        most_ = std::max(most_ / 2, least_records);
    } else if (w.capped && took < options_.turn_ms / 2) {
        most_ = std::min(most_ * 2, most_records);
    }
}

state_result state_store::turn_with(shared_state& zone, const moment& now, const zone_lock& lock, turn_is is)
{
    state_result began = begin();
    if (!began.ok()) {
        forget();
        return began;
    }
    state_turn w{.db = db_, .zone = zone, .now = now, .lock = lock, .is = is};
    if (is != turn_is::first) {
        w.end = after(options_.turn_ms);
    }
    state_result refused = do_turn(w);
    if (!refused.ok() && db_.ok()) {
        db_.roll_back();
        forget();
        return refused;
    }
    // An idle gateway writes nothing.
    if (!w.wrote && db_.ok()) {
        db_.roll_back();
        turns_ = w.row.turns;
        return {state_fault::none, {}, w.more};
    }
    w.row.turns++;
    w.row.turned_ms = now.unix_ms;
    put_zone(db_, w.row);
    state_result result = db_.end();
    if (!result.ok()) {
        forget();
        return result;
    }
    turns_ = w.row.turns;
    adapt(w);
    result.more = w.more;
    return result;
}

state_result state_store::restore_with(shared_state& zone, const moment& now, const zone_lock& lock)
{
    const auto end = after(options_.wait_ms);
    for (;;) {
        state_result result = turn_with(zone, now, lock, turn_is::first);
        const bool is_late = clock::now() >= end;
        if ((result.ok() && !result.more) || (!result.ok() && result.fault != state_fault::busy)
            || (!result.ok() && is_late)) {
            return result;
        }
        if (!result.ok()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
}

state_result state_store::close_with(shared_state& zone, const moment& now, const zone_lock& lock)
{
    const auto end = after(options_.wait_ms);
    for (;;) {
        state_result result = turn_with(zone, now, lock, turn_is::last);
        if (result.ok() && !result.more) {
            break;
        }
        if (!result.ok() && (result.fault != state_fault::busy || clock::now() >= end)) {
            return result;
        }
        if (!result.ok()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
    state_result began = begin();
    if (!began.ok()) {
        return began;
    }
    zone_row row;
    if (find_zone(db_, identity_of(zone), row)) {
        carrier to(db_, current_zone(db_));
        charge_running(db_, row.id, to);
    }
    query(db_, "UPDATE zones SET closed = ? WHERE id = ?").bind(now.unix_ms).bind(row.id).run();
    state_result result = db_.end();
    db_.close();
    forget();
    return result;
}

} // namespace llm
