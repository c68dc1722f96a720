#include "running.h"

#include "packed.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace llm {

namespace {

constexpr uint32_t slice = 64;
// Of more requests there is one row.
constexpr size_t most_rows = 256;

struct hold_copy {
    subject_kind kind; // none: nobody
    uint8_t windows;
    uint8_t name_len;
    uint8_t owner_len;
    char name[max_name];
    char owner[max_name];
};

struct lease_copy {
    uint32_t place;
    uint64_t serial;
    int64_t began_ms;
    token_counts used;
    usage_weights weights;
    bool own_model; // in the book
    uint8_t model_len;
    char model[lease::max_model];
    std::array<hold_copy, max_scopes> holds;
};

void copy_hold(const subject_table& subjects, const lease_hold& from, hold_copy& to)
{
    to.kind = subject_kind::none;
    if (from.who == no_index) {
        return;
    }
    const subject& s = subjects.at(from.who);
    to.kind = s.kind.load(std::memory_order_relaxed);
    to.windows = from.windows;
    to.name_len = static_cast<uint8_t>(s.name().copy(to.name, max_name));
    to.owner_len = 0;
    if (chosen_with_key(to.kind) && s.owner != no_index) {
        to.owner_len = static_cast<uint8_t>(subjects.at(s.owner).name().copy(to.owner, max_name));
    }
}

void copy_lease(const shared_state& zone, const lease& l, lease_copy& to)
{
    to.serial = l.serial;
    to.began_ms = l.started_ms;
    to.used = l.progress();
    to.weights = l.weights;
    to.own_model = zone.counted().find_model(zone.names_of(l)) != no_index;
    to.model_len = static_cast<uint8_t>(l.model().copy(to.model, sizeof to.model));
    for (size_t i = 0; i < max_scopes; i++) {
        copy_hold(zone.subjects(), l.holds[i], to.holds[i]);
    }
}

void append(std::string& to, const char* bytes, uint8_t size)
{
    to += static_cast<char>(size);
    to.append(bytes, size);
}

running_request request_of(const lease_copy& c)
{
    running_request r;
    r.place = c.place;
    r.serial = c.serial;
    r.began_ms = c.began_ms;
    r.used = c.used;
    r.cost = weighted(c.used, c.weights);
    const hold_copy& key = c.holds[place_of(subject_kind::key)];
    const hold_copy& user = c.holds[place_of(subject_kind::user)];
    if (key.kind != subject_kind::none) {
        r.key.assign(key.name, key.name_len);
    }
    if (user.kind != subject_kind::none) {
        r.user.assign(user.name, user.name_len);
    }
    r.model = c.own_model ? std::string(c.model, c.model_len) : std::string(book::other_name);
    for (const hold_copy& h : c.holds) {
        if (h.kind != subject_kind::none) {
            r.holds += static_cast<char>(h.kind);
            r.holds += static_cast<char>(h.windows);
            append(r.holds, h.name, h.name_len);
            append(r.holds, h.owner, h.owner_len);
        }
    }
    return r;
}

void pack(const running_request& r, std::string& to)
{
    const token_counts& t = r.used;
    packer p(to);
    p.text(r.key).text(r.user).text(r.model);
    p.number(t.prompt).number(t.cached).number(t.completion).number(t.reasoning).number(t.cache_write);
    p.number(r.cost).text(r.holds);
}

lost_request unpack(unpacker& from, int64_t updated_ms)
{
    lost_request r;
    r.updated_ms = updated_ms;
    r.key = from.text();
    r.user = from.text();
    r.model = from.text();
    token_counts& t = r.used;
    for (uint64_t* n : {&t.prompt, &t.cached, &t.completion, &t.reasoning, &t.cache_write, &r.cost}) {
        *n = from.number();
    }
    r.holds = from.text();
    return r;
}

} // namespace

std::vector<running_request> copy_running(const shared_state& zone, const zone_lock& lock)
{
    std::vector<running_request> all;
    const lease_table& leases = zone.leases();
    std::array<lease_copy, slice> copies;
    // What begins meanwhile is part of the next pass.
    for (uint32_t at = 0, end = leases.high_water(); at < end;) {
        uint32_t found[slice];
        size_t n_found = 0;
        for (; at < end && n_found < slice; at++) {
            if (lease::is_counted(leases.at(at).is.load(std::memory_order_acquire))) {
                found[n_found++] = at;
            }
        }
        size_t n = 0;
        if (n_found != 0) {
            lock([&] {
                for (const uint32_t place : std::span(found, n_found)) {
                    if (lease::is_counted(leases.at(place).is.load(std::memory_order_relaxed))) {
                        copies[n].place = place;
                        copy_lease(zone, leases.at(place), copies[n++]);
                    }
                }
            });
        }
        for (const lease_copy& c : std::span(copies.data(), n)) {
            all.push_back(request_of(c));
        }
    }
    return all;
}

bool drop_ended(std::vector<running_request>& from, const shared_state& zone, const zone_lock& lock,
                int64_t now_ms)
{
    const lease_table& leases = zone.leases();
    bool any_long = false;
    size_t kept = 0;
    for (size_t begin = 0; begin < from.size(); begin += slice) {
        const size_t end = std::min<size_t>(begin + slice, from.size());
        bool runs[slice];
        lock([&] {
            for (size_t i = begin; i < end; i++) {
                const lease& l = leases.at(from[i].place);
                runs[i - begin] =
                    l.serial == from[i].serial && lease::is_counted(l.is.load(std::memory_order_relaxed));
            }
        });
        for (size_t i = begin; i < end; i++) {
            if (!runs[i - begin]) {
                any_long |= from[i].is_long(now_ms);
            } else if (kept != i) {
                from[kept++] = std::move(from[i]);
            } else {
                kept++;
            }
        }
    }
    from.resize(kept);
    return any_long;
}

void put_running(database& db, int64_t zone, const std::vector<running_request>& all, int64_t now_ms)
{
    forget_running(db, zone);
    if (all.size() > most_rows) {
        std::string packed;
        for (const running_request& r : all) {
            pack(r, packed);
        }
        query(db, "INSERT INTO running_packed(zone, updated, requests) VALUES(?,?,?)")
            .bind(zone)
            .bind(now_ms)
            .blob(packed)
            .run();
        return;
    }
    for (const running_request& r : all) {
        query q(
            db,
            "INSERT INTO running(zone, serial, key, user, model, began, updated, prompt, cached, completion,"
            " reasoning, cache_write, cost, holds) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
        q.bind(zone).count(r.serial).bind(r.key).bind(r.user).bind(r.model).bind(r.began_ms).bind(now_ms);
        q.count(r.used.prompt).count(r.used.cached).count(r.used.completion).count(r.used.reasoning);
        q.count(r.used.cache_write).count(r.cost).blob(r.holds).run();
    }
}

void forget_running(database& db, int64_t zone)
{
    query(db, "DELETE FROM running WHERE zone = ?").bind(zone).run();
    query(db, "DELETE FROM running_packed WHERE zone = ?").bind(zone).run();
}

std::vector<lost_request> read_running(database& db, int64_t zone)
{
    std::vector<lost_request> all;
    {
        query q(db, "SELECT updated, key, user, model, prompt, cached, completion, reasoning, cache_write, "
                    "cost, holds FROM running WHERE zone = ?");
        q.bind(zone);
        while (q.row()) {
            all.push_back({q.integer(0),
                           std::string(q.text(1)),
                           std::string(q.text(2)),
                           std::string(q.text(3)),
                           {q.number(4), q.number(5), q.number(6), q.number(7), q.number(8)},
                           q.number(9),
                           std::string(q.text(10))});
        }
    }
    query q(db, "SELECT updated, requests FROM running_packed WHERE zone = ?");
    if (q.bind(zone).row()) {
        unpacker u(q.text(1));
        while (!u.at_end()) {
            all.push_back(unpack(u, q.integer(0)));
        }
        if (!u.ok()) {
            db.note_damage("its requests that ran cannot be read");
        }
    }
    return all;
}

std::vector<subject_state> charges_of(std::string_view holds, const token_counts& used, uint64_t cost,
                                      int64_t at_ms)
{
    std::vector<subject_state> all;
    const auto take = [&](char* to, uint8_t& len) {
        const size_t size = holds.empty() ? 0 : static_cast<uint8_t>(holds[0]);
        holds.remove_prefix(holds.empty() ? 0 : 1);
        len = static_cast<uint8_t>(holds.copy(to, std::min(size, max_name)));
        holds.remove_prefix(std::min(size, holds.size()));
    };
    while (holds.size() > 2) {
        subject_state s{};
        s.kind = static_cast<subject_kind>(holds[0]);
        const auto windows = static_cast<uint8_t>(holds[1]);
        holds.remove_prefix(2);
        take(s.name_bytes, s.name_len);
        take(s.owner_bytes, s.owner_len);
        if (s.kind == subject_kind::none || s.kind > last_kind) {
            continue;
        }
        s.unix_ms = at_ms;
        s.totals = {1, used.prompt, used.cached, used.completion, used.reasoning, used.cache_write};
        for (size_t i = 0; i < quota_windows; i++) {
            if (windows & bit_of(static_cast<quota_window>(i + 1))) {
                s.quotas[i] = {cost, hour_of(at_ms)};
            }
        }
        all.push_back(s);
    }
    return all;
}

} // namespace llm
