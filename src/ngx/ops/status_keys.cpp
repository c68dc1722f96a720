#include "status_keys.h"

#include "key_rules.h"
#include "limits_json.h"
#include "status_book.h"

#include "core/base/bytes.h"
#include "core/shared/limit_state.h"
#include "ngx/clock.h"

#include <algorithm>
#include <span>
#include <tuple>

namespace llm {

namespace {

// With the zone locked once.
constexpr uint32_t keys_looked_at = 64;

bool contains(std::string_view text, std::string_view part)
{
    return std::search(text.begin(), text.end(), part.begin(), part.end(),
                       [](char a, char b) { return ascii_lower(a) == ascii_lower(b); })
           != text.end();
}

const subject* subject_of(const shared_state& state, const shared_key& key)
{
    const uint32_t number = key.key_subject != no_index
                                ? key.key_subject
                                : state.subjects().find(subject_kind::key, key.name.view());
    return number != no_index ? &state.subjects().at(number) : nullptr;
}

uint64_t rank_of(const shared_state& state, const shared_key& key, status_query::order sort)
{
    const subject* who = sort != status_query::order::name ? subject_of(state, key) : nullptr;
    if (!who) {
        return 0;
    }
    const usage_totals& totals = who->counts.totals;
    return sort == status_query::order::requests ? totals.requests + who->in_flight
                                                 : totals.prompt + totals.completion;
}

} // namespace

struct key_copy {
    size_t name_len, user_len, plan_len;
    char name[max_name], user[max_name], plan[max_name];
    bool enabled;
    bool admin;
    bool in_file; // else only its counters are left
    int64_t expires;
    uint32_t blocked_since; // 0 = it is not
    uint32_t in_flight;
    usage_totals totals;
    size_t n_limits;
    std::array<limit_state, max_limit_states> limits;
};

namespace {

using refusal_counts = std::array<uint64_t, refusal_reasons>;

void copy_subject(const subject* who, key_copy& c)
{
    c.blocked_since = who ? who->blocked_since() : 0;
    c.in_flight = who ? who->in_flight : 0;
    c.totals = who ? who->counts.totals : usage_totals{};
}

void copy_key(const shared_state& state, const shared_key& key, std::span<const limit_rule> rules,
              const moment& now, key_copy& c)
{
    const subject* who = subject_of(state, key);
    c.name_len = key.name.view().copy(c.name, max_name);
    c.user_len = key.user.view().copy(c.user, max_name);
    c.plan_len = key.policy->plan.view().copy(c.plan, max_name);
    c.enabled = key.enabled;
    c.admin = key.admin;
    c.in_file = true;
    c.expires = key.expires;
    copy_subject(who, c);
    c.n_limits = limit_states(*key.policy, who, rules, now, c.limits);
}

void put_key(json_writer& out, const key_copy& c, const refusal_counts& refusals)
{
    out.begin_object();
    out.field("name", std::string_view(c.name, c.name_len));
    out.field("user", std::string_view(c.user, c.user_len));
    out.field("plan", std::string_view(c.plan, c.plan_len));
    out.flag("enabled", c.enabled);
    out.flag("admin", c.admin);
    out.flag("blocked", c.blocked_since != 0);
    put_time(out, "blocked_since", c.blocked_since);
    put_expiry(out, c.expires);
    out.field("in_flight", c.in_flight);
    out.field("requests", c.totals.requests);
    put_tokens(out, c.totals.tokens());
    uint64_t refused = 0;
    for (const uint64_t n : refusals) {
        refused += n;
    }
    out.field("refused", refused);
    out.name("refusals");
    out.begin_object();
    for (size_t i = 0; i < refusal_reasons; i++) {
        if (refusals[i] != 0) {
            out.field(reason_name(i), refusals[i]);
        }
    }
    out.end_object();
    out.name("limits");
    put_limits(out, {{"key", std::span(c.limits).first(c.n_limits)}});
    if (!c.in_file) {
        out.flag("in_file", false);
    }
    out.end_object();
}
} // namespace

bool key_list::comes_before(const candidate& a, const candidate& b)
{
    return std::tuple(b.rank, a.text(), a.file) < std::tuple(a.rank, b.text(), b.file);
}

progress key_list::put_slice(json_writer& out)
{
    bool done = true; // with this step
    switch (at_) {
    case step::begin:
        if (!begin()) {
            return progress::failed;
        }
        break;
    case step::look:
        done = look();
        break;
    case step::sort:
        done = sort();
        break;
    case step::shown:
        if (!make_shown()) {
            return progress::failed;
        }
        break;
    case step::refusals:
        done = add_refusals();
        if (done) {
            out.field("matched", matched_);
            out.name("keys");
            out.begin_array();
        }
        break;
    case step::keys:
        done = put_keys(out);
        if (done) {
            out.end_array();
        }
        break;
    case step::end:
        break;
    }
    if (done && at_ != step::end) {
        at_ = static_cast<step>(static_cast<uint8_t>(at_) + 1);
    }
    return at_ == step::end ? progress::done : progress::more;
}

bool key_list::begin()
{
    const auto rules = key_rules_of(conf_, pool_);
    with_lock(zone_, [&] {
        generation_ = zone_.state->generation();
        room_ = zone_.state->keys() ? zone_.state->keys()->keys() : 0;
    });
    room_ = std::min<size_t>(room_, query_.offset + query_.limit);
    first_ = static_cast<candidate*>(ngx_palloc(pool_, (room_ + 1) * sizeof(candidate)));
    if (!rules || !first_) {
        return false;
    }
    rules_ = *rules;
    return true;
}

// Finds those that match, and keeps of them those that come first.
bool key_list::look()
{
    std::array<candidate, looks> found;
    size_t n = 0;
    const bool more = look(found, n);
    matched_ += n;
    for (const candidate& c : std::span(found).first(n)) {
        keep(c);
    }
    heap_ = n_;
    return !more;
}

// False where there are no more.
bool key_list::look(std::span<candidate, looks> found, size_t& n)
{
    zone_session session(zone_);
    const shared_state& state = *zone_.state;
    if (state.generation() != generation_ || !state.keys()) {
        return false;
    }
    const auto files = state.keys()->files();
    for (size_t looked = 0; looked < found.size(); looked++) {
        while (file_ < files.size() && next_ == files[file_].n_keys) {
            file_++;
            next_ = 0;
        }
        if (file_ == files.size()) {
            return false;
        }
        const shared_key& key = files[file_].keys[next_++];
        if (!contains(key.name.view(), query_.filter) && !contains(key.user.view(), query_.filter)) {
            continue;
        }
        candidate& c = found[n++];
        c.rank = rank_of(state, key, query_.sort);
        c.file = file_;
        c.key = next_ - 1;
        c.name_len = static_cast<uint8_t>(key.name.view().copy(c.name, max_name));
    }
    return true;
}

void key_list::keep(const candidate& c)
{
    if (n_ == room_ && (n_ == 0 || !comes_before(c, first_[0]))) {
        return;
    }
    if (n_ == room_) {
        std::pop_heap(first_, first_ + n_, comes_before);
        n_--;
    }
    first_[n_++] = c;
    std::push_heap(first_, first_ + n_, comes_before);
}

// The last one first, down to the first one that is shown.
bool key_list::sort()
{
    for (size_t i = 0; i < looks && heap_ > std::min<size_t>(query_.offset, n_); i++) {
        std::pop_heap(first_, first_ + heap_, comes_before);
        heap_--;
    }
    return heap_ == std::min<size_t>(query_.offset, n_);
}

bool key_list::make_shown()
{
    const size_t n = n_ - heap_;
    auto* shown = static_cast<shown_key*>(ngx_pcalloc(pool_, (n + 1) * sizeof(shown_key)));
    by_name_ = static_cast<shown_key**>(ngx_palloc(pool_, (n + 1) * sizeof(shown_key*)));
    if (!shown || !by_name_) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        shown[i].key = first_ + heap_ + i;
        by_name_[i] = shown + i;
    }
    std::sort(by_name_, by_name_ + n,
              [](const shown_key* a, const shown_key* b) { return a->key->text() < b->key->text(); });
    shown_ = {shown, n};
    return true;
}

bool key_list::add_refusals()
{
    std::array<client_copy, 2 * slice> clients;
    const size_t n = copy_clients(zone_.state->counted(), cursor_, clients, zone_locker{zone_});
    shown_key** const end = by_name_ + shown_.size();
    for (const client_copy& client : std::span(clients).first(n)) {
        shown_key** k =
            std::lower_bound(by_name_, end, client.key(), [](const shown_key* shown, std::string_view name) {
                return shown->key->text() < name;
            });
        for (; k != end && (*k)->key->text() == client.key(); ++k) {
            for (size_t i = 0; i < refusal_reasons; i++) {
                (*k)->refusals[i] += client.refusals[i];
            }
        }
    }
    return n == 0;
}

bool key_list::put_keys(json_writer& out)
{
    std::array<key_copy, slice> copies;
    const size_t n = copy_keys(copies);
    for (size_t i = 0; i < n; i++) {
        put_key(out, copies[i], shown_[put_ + i].refusals);
    }
    put_ += n;
    return n == 0 || put_ == shown_.size();
}

// Returns how many were copied: none once other keys are in force.
size_t key_list::copy_keys(std::span<key_copy, slice> to)
{
    const moment now = now_of_both_clocks();
    const auto of = shown_.subspan(put_, std::min(slice, shown_.size() - put_));
    zone_session session(zone_);
    const shared_state& state = *zone_.state;
    if (state.generation() != generation_) {
        return 0;
    }
    for (size_t i = 0; i < of.size(); i++) {
        const shared_key& key = state.keys()->files()[of[i].key->file].keys[of[i].key->key];
        copy_key(state, key, rules_, now, to[i]);
    }
    return of.size();
}

namespace {

// Where a key stands.
struct key_place {
    uint32_t file;
    uint32_t key; // of the file
};

// The first key of this name in the files. Looks at some with the zone locked at a time.
std::optional<key_place> find_in_files(const zone_conf& zone, std::string_view name, uint64_t& generation)
{
    const shared_state& state = *zone.state;
    key_place c{};
    for (bool begun = false;; begun = true) {
        zone_session session(zone);
        // Other keys came into force meanwhile.
        if (!begun || state.generation() != generation) {
            generation = state.generation();
            c = {};
        }
        const auto files = state.keys() ? state.keys()->files() : std::span<const key_table::file_info>();
        for (uint32_t looked = 0; looked < keys_looked_at; looked++) {
            while (c.file < files.size() && c.key == files[c.file].n_keys) {
                c.file++;
                c.key = 0;
            }
            if (c.file == files.size()) {
                return std::nullopt;
            }
            if (files[c.file].keys[c.key].name.view() == name) {
                return c;
            }
            c.key++;
        }
    }
}

// Of a key that is in no file any more.
bool copy_without_file(const zone_conf& zone, std::string_view name, key_copy& c)
{
    zone_session session(zone);
    const uint32_t number = session->subjects().find(subject_kind::key, name);
    if (number == no_index) {
        return false;
    }
    c.name_len = name.copy(c.name, max_name);
    c.user_len = c.plan_len = c.n_limits = 0;
    c.enabled = c.admin = c.in_file = false;
    c.expires = 0;
    copy_subject(&session->subjects().at(number), c);
    return true;
}

bool copy_one(const zone_conf& zone, std::string_view name, std::span<const limit_rule> rules, key_copy& c)
{
    for (;;) {
        uint64_t generation = 0;
        const std::optional<key_place> found = find_in_files(zone, name, generation);
        if (!found) {
            return copy_without_file(zone, name, c);
        }
        const moment now = now_of_both_clocks();
        zone_session session(zone);
        const shared_state& state = *zone.state;
        // Else other keys came into force meanwhile.
        if (state.generation() == generation) {
            copy_key(state, state.keys()->files()[found->file].keys[found->key], rules, now, c);
            return true;
        }
    }
}

refusal_counts refusals_of(const zone_conf& zone, std::string_view name)
{
    refusal_counts sums{};
    std::array<client_copy, 16> clients;
    book_cursor at;
    while (const size_t n = copy_clients(zone.state->counted(), at, clients, zone_locker{zone})) {
        for (const client_copy& client : std::span(clients).first(n)) {
            for (size_t i = 0; client.key() == name && i < refusal_reasons; i++) {
                sums[i] += client.refusals[i];
            }
        }
    }
    return sums;
}

} // namespace

bool key_exists(const zone_conf& zone, std::string_view name)
{
    {
        zone_session session(zone);
        if (session->subjects().find(subject_kind::key, name) != no_index) {
            return true;
        }
    }
    uint64_t generation = 0;
    return find_in_files(zone, name, generation).has_value();
}

key_put put_one_key(json_writer& out, main_conf& conf, const zone_conf& zone, std::string_view name,
                    ngx_pool_t* pool)
{
    const auto rules = key_rules_of(conf, pool);
    auto* c = static_cast<key_copy*>(ngx_palloc(pool, sizeof(key_copy)));
    if (!rules || !c) {
        return key_put::no_memory;
    }
    if (!copy_one(zone, name, *rules, *c)) {
        return key_put::unknown;
    }
    put_key(out, *c, refusals_of(zone, name));
    return key_put::done;
}

} // namespace llm
