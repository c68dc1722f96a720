#include "journal.h"

#include "counters.h"
#include "state_turn.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

// It is folded once it is as old or as large as this, or when there is little else to do.
constexpr int64_t old_ms = 60000;
constexpr uint64_t large = uint64_t{64} << 20;
// CPU time of a turn beside much else, more where it is larger.
constexpr uint64_t usual_ms = 20;
constexpr uint64_t most_ms = 40;
// Records between two looks at the clock.
constexpr int slice = 64;

// --- subjects: sorted by kind and name

void pack(const subject_state& s, std::string& to)
{
    packer p(to);
    p.text(s.owner()).number(static_cast<uint64_t>(s.unix_ms)).number(s.proved | s.blocked << 1);
    const usage_totals& t = s.totals;
    for (const uint64_t n : {t.requests, t.prompt, t.cached, t.completion, t.reasoning, t.cache_write}) {
        p.number(n);
    }
    for (const subject_state::quota& q : s.quotas) {
        p.number(q.used);
        if (q.used != 0) {
            p.number(q.hour);
        }
    }
    for (const auto& of_kind : s.debts) {
        for (const subject_state::debt& d : of_kind) {
            p.number(d.ns);
            if (d.ns != 0) {
                p.number(static_cast<uint64_t>(d.label));
            }
        }
    }
    for (const learned_figures& f : {s.learned, s.learned_by_owner}) {
        p.number(f.completion).number(f.prompt_ratio).number(f.text_ratio);
        p.number(f.prompt_weight).number(f.text_weight);
    }
}

bool take_name(std::string_view from, char* to, uint8_t& len)
{
    len = static_cast<uint8_t>(from.copy(to, max_name));
    return from.size() <= max_name;
}

bool unpack(std::string_view sort_key, std::string_view record, subject_state& s)
{
    unpacker u(record);
    s = {};
    if (sort_key.empty() || !take_name(sort_key.substr(1), s.name_bytes, s.name_len)
        || !take_name(u.text(), s.owner_bytes, s.owner_len)) {
        return false;
    }
    s.kind = static_cast<subject_kind>(sort_key[0]);
    s.unix_ms = static_cast<int64_t>(u.number());
    const uint64_t flags = u.number();
    s.proved = flags & 1;
    s.blocked = flags & 2;
    usage_totals& t = s.totals;
    for (uint64_t* n : {&t.requests, &t.prompt, &t.cached, &t.completion, &t.reasoning, &t.cache_write}) {
        *n = u.number();
    }
    for (subject_state::quota& q : s.quotas) {
        q.used = u.number();
        q.hour = q.used != 0 ? static_cast<uint32_t>(u.number()) : 0;
    }
    for (auto& of_kind : s.debts) {
        for (subject_state::debt& d : of_kind) {
            d.ns = u.number();
            d.label = d.ns != 0 ? static_cast<interval_label>(u.number()) : interval_label::none;
        }
    }
    for (learned_figures* f : {&s.learned, &s.learned_by_owner}) {
        f->completion = static_cast<uint32_t>(u.number());
        f->prompt_ratio = static_cast<uint16_t>(u.number());
        f->text_ratio = static_cast<uint16_t>(u.number());
        f->prompt_weight = static_cast<uint8_t>(u.number());
        f->text_weight = static_cast<uint8_t>(u.number());
    }
    return u.ok() && u.at_end() && s.kind > subject_kind::none && s.kind <= last_kind;
}

// --- series: sorted by key and serial

constexpr size_t serial_bytes = 8;

void pack(const ledger_entry& e, std::string& to)
{
    packer p(to);
    p.text(e.user).text(e.model);
    for (const uint64_t n : e.counts.requests) {
        p.number(n);
    }
    const token_counts& t = e.counts.tokens;
    for (const uint64_t n : {t.prompt, t.cached, t.completion, t.reasoning, t.cache_write, e.counts.cost}) {
        p.number(n);
    }
}

bool unpack(std::string_view sort_key, std::string_view record, ledger_entry& e)
{
    if (sort_key.size() < serial_bytes) {
        return false;
    }
    e.serial = 0;
    for (const char c : sort_key.substr(sort_key.size() - serial_bytes)) {
        e.serial = e.serial << 8 | static_cast<unsigned char>(c);
    }
    e.key = sort_key.substr(0, sort_key.size() - serial_bytes);
    unpacker u(record);
    e.user = u.text();
    e.model = u.text();
    for (uint64_t& n : e.counts.requests) {
        n = u.number();
    }
    token_counts& t = e.counts.tokens;
    for (uint64_t* n : {&t.prompt, &t.cached, &t.completion, &t.reasoning, &t.cache_write, &e.counts.cost}) {
        *n = u.number();
    }
    return u.ok() && u.at_end();
}

// --- runs

template <class Record>
std::string run_of(const std::vector<Record>& sorted, auto sort_key_of)
{
    std::string run, sort_key, record;
    for (const Record& r : sorted) {
        sort_key.clear();
        record.clear();
        sort_key_of(r, sort_key);
        pack(r, record);
        packer(run).text(sort_key).text(record);
    }
    return run;
}

journal_size size_of_journal(database& db)
{
    query q(db,
            "SELECT coalesce(sum(length(subjects) + length(series)), 0), coalesce(min(at), 0) FROM journal");
    return q.row() ? journal_size{q.number(0), q.integer(1)} : journal_size{};
}

} // namespace

journal_fold::journal_fold(database& db)
{
    query q(db, "SELECT coalesce(max(number), 0) FROM journal");
    last_ = q.row() ? q.integer(0) : 0;
}

// The next row is read. False if that was all.
bool journal_fold::read_one(database& db)
{
    query q(db, "SELECT number, zone, at, subjects, series FROM journal WHERE number > ? AND number <= ?"
                " ORDER BY number LIMIT 1");
    q.bind(runs_.empty() ? 0 : runs_.back().number).bind(last_);
    if (!q.row()) {
        return false;
    }
    runs_.push_back(
        {q.integer(0), q.integer(1), q.integer(2), std::string(q.text(3)), std::string(q.text(4))});
    return true;
}

// Oldest first: what is left of them says nothing that is not in the tables.
bool journal_fold::delete_one(database& db)
{
    query(db, "DELETE FROM journal WHERE number = (SELECT min(number) FROM journal) AND number <= ?")
        .bind(last_)
        .run();
    return db.ok() && db.changes() != 0;
}

bool journal_fold::cursor::advance()
{
    if (rest.at_end()) {
        return false;
    }
    sort_key = rest.text();
    record = rest.text();
    return true;
}

// The order of the heap, which has the greatest on top. Usage of one hour is written before that of the next.
bool journal_fold::is_later(const cursor& a, const cursor& b) const
{
    if (is_series() && hour_of(a.from->at_ms) != hour_of(b.from->at_ms)) {
        return a.from->at_ms > b.from->at_ms;
    }
    const int order = a.sort_key.compare(b.sort_key);
    return order != 0 ? order > 0 : a.from->number > b.from->number;
}

void journal_fold::begin()
{
    for (const run& r : runs_) {
        cursor c{&r, unpacker(is_series() ? r.series : r.subjects), {}, {}};
        if (c.advance()) {
            heap_.push_back(c);
        }
    }
    std::make_heap(heap_.begin(), heap_.end(),
                   [this](const cursor& a, const cursor& b) { return is_later(a, b); });
}

// The next record, and the last word on it.
journal_fold::cursor journal_fold::take()
{
    const auto later = [this](const cursor& a, const cursor& b) { return is_later(a, b); };
    cursor taken = heap_.front();
    do {
        std::pop_heap(heap_.begin(), heap_.end(), later);
        taken = heap_.back();
        if (heap_.back().advance()) {
            std::push_heap(heap_.begin(), heap_.end(), later);
        } else {
            heap_.pop_back();
        }
    } while (!heap_.empty() && heap_.front().sort_key == taken.sort_key
             && (!is_series() || hour_of(heap_.front().from->at_ms) == hour_of(taken.from->at_ms)));
    return taken;
}

bool journal_fold::write_one(database& db, const cursor& c) const
{
    if (is_series()) {
        ledger_entry e{};
        if (unpack(c.sort_key, c.record, e)) {
            write_absolute(db, c.from->zone, e, c.from->at_ms);
            return true;
        }
    } else {
        subject_state s{};
        if (unpack(c.sort_key, c.record, s)) {
            put_counter(db, s);
            return true;
        }
    }
    return false;
}

// True if there is more to write.
bool journal_fold::write_some(database& db)
{
    for (int i = 0; i < slice && !heap_.empty() && db.ok(); i++) {
        if (!write_one(db, take())) {
            db.note_damage("its journal cannot be read");
        }
    }
    return !heap_.empty();
}

bool journal_fold::step(database& db)
{
    switch (now_) {
    case part::reading:
        if (!read_one(db)) {
            now_ = part::subjects;
            begin();
        }
        return true;
    case part::subjects:
        if (!write_some(db)) {
            now_ = part::series;
            begin();
        }
        return true;
    case part::series:
        if (!write_some(db)) {
            runs_.clear();
            now_ = part::deleting;
        }
        return true;
    case part::deleting:
        break;
    }
    return delete_one(db);
}

bool journal_fold::write(database& db, uint64_t most_ms)
{
    const uint64_t began = state_turn::cpu_ms();
    while (step(db)) {
        if (!db.ok() || state_turn::cpu_ms() - began >= most_ms) {
            return false;
        }
    }
    return db.ok();
}

bool journal_folder::turn(database& db, const needs& n, state_turn& w)
{
    if (!size_) {
        size_ = size_of_journal(db);
    }
    const journal_size size = *size_;
    if (!size.any()) {
        return false;
    }
    const bool is_old = n.now_ms - size.first_ms >= old_ms || n.now_ms < size.first_ms;
    const bool is_urgent = n.at_once || n.is_quiet;
    if (!pass_ && !is_urgent && !is_old && size.bytes < large) {
        return true;
    }
    if (!pass_) {
        pass_ = std::make_unique<journal_fold>(db);
    }
    w.wrote = true;
    const uint64_t usual = std::min(usual_ms + usual_ms * size.bytes / large, most_ms);
    bool is_left = true;
    const uint64_t began_ms = state_turn::cpu_ms();
    if (pass_->write(db, is_urgent ? n.turn_ms : usual)) {
        pass_.reset();
        size_ = size_of_journal(db);
        is_left = size_->any();
    }
    w.fold_cpu_ms = state_turn::cpu_ms() - began_ms;
    w.more |= is_left && (is_urgent || size.bytes > 8 * large);
    return is_left;
}

void journal_folder::append(database& db, int64_t zone, std::vector<subject_state>& states,
                            std::vector<ledger_entry>& entries, int64_t now_ms)
{
    std::sort(states.begin(), states.end(), [](const subject_state& a, const subject_state& b) {
        return a.kind != b.kind ? a.kind < b.kind : a.name() < b.name();
    });
    std::sort(entries.begin(), entries.end(), [](const ledger_entry& a, const ledger_entry& b) {
        return a.key != b.key ? a.key < b.key : a.serial < b.serial;
    });
    const std::string subjects = run_of(states, [](const subject_state& s, std::string& to) {
        to += static_cast<char>(s.kind);
        to += s.name();
    });
    const std::string series = run_of(entries, [](const ledger_entry& e, std::string& to) {
        to += e.key;
        for (size_t i = serial_bytes; i-- > 0;) {
            to += static_cast<char>(e.serial >> 8 * i);
        }
    });
    query(db, "INSERT INTO journal(zone, at, subjects, series) VALUES(?,?,?,?)")
        .bind(zone)
        .bind(now_ms)
        .blob(subjects)
        .blob(series)
        .run();
    if (!size_ || !size_->any()) {
        size_ = {0, now_ms};
    }
    size_->bytes += subjects.size() + series.size();
}

void fold_whole_journal(database& db)
{
    if (size_of_journal(db).any()) {
        journal_fold(db).write(db, UINT64_MAX);
    }
}

} // namespace llm
