#include "status_keys.h"

#include "key_rules.h"
#include "limits_json.h"
#include "status_book.h"

#include "core/base/bytes.h"
#include "core/shared/book_export.h"
#include "core/shared/limit_state.h"
#include "ngx/clock.h"

#include <algorithm>
#include <optional>
#include <span>
#include <tuple>

namespace llm {

namespace {

// Keys that are looked at, and that are copied, with the zone locked once.
constexpr uint32_t looks = 64;
constexpr size_t slice = 16;

// A key that may be among those that are shown.
struct candidate {
    uint64_t rank; // what it is sorted by, the largest first
    uint32_t file;
    uint32_t key; // of the file
    uint8_t name_len;
    char name[max_name];

    std::string_view text() const { return {name, name_len}; }
};

bool comes_before(const candidate& a, const candidate& b)
{
    return std::tuple(b.rank, a.text(), a.file) < std::tuple(a.rank, b.text(), b.file);
}

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
    std::array<uint64_t, refusal_reasons> refusals; // from the book

    std::string_view key() const { return {name, name_len}; }
};

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

class key_list {
public:
    key_list(const zone_conf& zone, const status_query& query, ngx_pool_t* pool)
        : zone_(zone), query_(query), pool_(pool), room_(query.offset + query.limit)
    {
    }

    // Finds those that match, and among them those that come first. False if there is no memory.
    bool find();
    uint64_t matched() const { return matched_; }
    // Those that are shown, in their order.
    std::span<const candidate> shown() const
    {
        const size_t from = std::min<size_t>(query_.offset, n_);
        return {first_ + from, n_ - from};
    }
    uint64_t generation() const { return generation_; }

private:
    bool look(std::span<candidate> found, size_t& n);
    void keep(const candidate& c);

    const zone_conf& zone_;
    const status_query& query_;
    ngx_pool_t* pool_;
    size_t room_;
    candidate* first_ = nullptr; // a heap, whose top is the last one; sorted in the end
    size_t n_ = 0;
    uint64_t matched_ = 0;
    uint64_t generation_ = 0;
    uint32_t file_ = 0;
    uint32_t next_ = 0;
};

bool key_list::find()
{
    {
        zone_session session(zone_);
        generation_ = session->generation();
        room_ = std::min<size_t>(room_, session->keys() ? session->keys()->keys() : 0);
    }
    first_ = static_cast<candidate*>(ngx_palloc(pool_, (room_ + 1) * sizeof(candidate)));
    auto* found = static_cast<candidate*>(ngx_palloc(pool_, looks * sizeof(candidate)));
    if (!first_ || !found) {
        return false;
    }
    for (bool more = true; more;) {
        size_t n = 0;
        more = look({found, looks}, n);
        matched_ += n;
        std::for_each(found, found + n, [&](const candidate& c) { keep(c); });
    }
    std::sort_heap(first_, first_ + n_, comes_before);
    return true;
}

// False where there are no more.
bool key_list::look(std::span<candidate> found, size_t& n)
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

void copy_subject(const subject* who, key_copy& c)
{
    c.blocked_since = who ? who->blocked_since() : 0;
    c.in_flight = who ? who->in_flight : 0;
    c.totals = who ? who->counts.totals : usage_totals{};
    c.refusals = {};
}

// Returns how many were copied: none once other keys are in force.
size_t copy_keys(const zone_conf& zone, uint64_t generation, std::span<const candidate> of,
                 std::span<const limit_rule> rules, key_copy* to)
{
    const moment now = now_of_both_clocks();
    zone_session session(zone);
    const shared_state& state = *zone.state;
    if (state.generation() != generation) {
        return 0;
    }
    for (size_t i = 0; i < of.size(); i++) {
        const shared_key& key = state.keys()->files()[of[i].file].keys[of[i].key];
        const subject* who = subject_of(state, key);
        key_copy& c = to[i];
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
    return of.size();
}

// Adds what the book has of them. `keys` are in the order of their names.
bool add_refusals(const zone_conf& zone, std::span<key_copy*> keys, ngx_pool_t* pool)
{
    auto* clients = static_cast<client_copy*>(ngx_palloc(pool, max_slice_of_book * sizeof(client_copy)));
    if (!clients) {
        return false;
    }
    book_cursor at;
    while (const size_t n =
               copy_clients(zone.state->counted(), at, {clients, max_slice_of_book}, zone_locker{zone})) {
        for (const client_copy& client : std::span(clients, n)) {
            const auto range =
                std::lower_bound(keys.begin(), keys.end(), client.key(),
                                 [](const key_copy* k, std::string_view name) { return k->key() < name; });
            for (auto k = range; k != keys.end() && (*k)->key() == client.key(); ++k) {
                for (size_t i = 0; i < refusal_reasons; i++) {
                    (*k)->refusals[i] += client.refusals[i];
                }
            }
        }
    }
    return true;
}

void put_key(json_writer& out, const key_copy& c)
{
    out.begin_object();
    out.field("name", c.key());
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
    for (const uint64_t n : c.refusals) {
        refused += n;
    }
    out.field("refused", refused);
    out.name("refusals");
    out.begin_object();
    for (size_t i = 0; i < refusal_reasons; i++) {
        if (c.refusals[i] != 0) {
            out.field(reason_name(i), c.refusals[i]);
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

// The first key of this name in the files. Looks at some with the zone locked at a time.
std::optional<candidate> find_in_files(const zone_conf& zone, std::string_view name, uint64_t& generation)
{
    const shared_state& state = *zone.state;
    candidate c{};
    for (bool begun = false;; begun = true) {
        zone_session session(zone);
        // Other keys came into force meanwhile.
        if (!begun || state.generation() != generation) {
            generation = state.generation();
            c = {};
        }
        const auto files = state.keys() ? state.keys()->files() : std::span<const key_table::file_info>();
        for (uint32_t looked = 0; looked < looks; looked++) {
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
    for (;;) {
        uint64_t generation = 0;
        const std::optional<candidate> found = find_in_files(zone, name, generation);
        if (!found) {
            if (!copy_without_file(zone, name, *c)) {
                return key_put::unknown;
            }
            break;
        }
        if (copy_keys(zone, generation, {&*found, 1}, *rules, c) == 1) {
            break;
        }
    }
    if (!add_refusals(zone, {&c, 1}, pool)) {
        return key_put::no_memory;
    }
    put_key(out, *c);
    return key_put::done;
}

bool put_keys(json_writer& out, main_conf& conf, const zone_conf& zone, const status_query& query,
              ngx_pool_t* pool)
{
    key_list list(zone, query, pool);
    const auto rules = key_rules_of(conf, pool);
    if (!rules || !list.find()) {
        return false;
    }
    const std::span<const candidate> shown = list.shown();
    auto* keys = static_cast<key_copy*>(ngx_palloc(pool, (shown.size() + 1) * sizeof(key_copy)));
    auto* by_name = static_cast<key_copy**>(ngx_palloc(pool, (shown.size() + 1) * sizeof(key_copy*)));
    if (!keys || !by_name) {
        return false;
    }
    size_t n = 0;
    while (n < shown.size()) {
        const auto part = shown.subspan(n, std::min(slice, shown.size() - n));
        const size_t copied = copy_keys(zone, list.generation(), part, *rules, keys + n);
        if (copied == 0) {
            break;
        }
        n += copied;
    }
    for (size_t i = 0; i < n; i++) {
        by_name[i] = keys + i;
    }
    std::sort(by_name, by_name + n, [](const key_copy* a, const key_copy* b) { return a->key() < b->key(); });
    if (!add_refusals(zone, {by_name, n}, pool)) {
        return false;
    }
    out.field("matched", list.matched());
    out.name("keys");
    out.begin_array();
    for (const key_copy& c : std::span(keys, n)) {
        put_key(out, c);
    }
    out.end_array();
    return true;
}

} // namespace llm
