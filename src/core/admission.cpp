#include "admission.h"

#include "address.h"
#include "utf8.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

// Who has no record yet has used nothing.
const subject nobody{};

uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

constexpr uint8_t bit_of(subject_kind kind)
{
    return static_cast<uint8_t>(1u << static_cast<unsigned>(kind));
}

uint8_t scopes_of(std::span<const limit_rule> rules)
{
    uint8_t scopes = 0;
    for (const limit_rule& rule : rules) {
        scopes |= bit_of(rule.scope);
    }
    return scopes;
}

// A model's name as its subject's: what is too long ends in its hash. `longer` is where that is put.
std::string_view model_name(const subject_table& subjects, std::string_view model, char (&longer)[max_name])
{
    if (model.size() <= max_name) {
        return model;
    }
    size_t size = utf8_cut(model, max_name - 17).copy(longer, max_name - 17);
    longer[size++] = '~';
    uint64_t hash = subjects.keyed_hash(model);
    for (int shift = 60; shift >= 0; shift -= 4) {
        longer[size++] = "0123456789abcdef"[hash >> shift & 15];
    }
    return {longer, size};
}

} // namespace

static_assert(undo_journal::max_blocks >= 1 + 2 * max_scopes);
static_assert(undo_journal::max_bytes >= sizeof(lease::holds));

std::string_view address_name(std::span<const uint8_t> address)
{
    address = unmapped(address);
    size_t size = std::min<size_t>(address.size(), address.size() == 16 ? 8 : max_name);
    return {reinterpret_cast<const char*>(address.data()), size};
}

struct admission::decision {
    const admission_request& request;
    uint64_t tokens; // to be taken
    bool extending;

    lease* l = nullptr;
    bool as_it_stands = false; // what is reported is the state without this request
    bool cut = false;
    uint64_t hard_left = UINT64_MAX;
    limit_refusal refused_by = {};
    uint64_t dry_run_refusals = 0;
    limit_report report = {};

    uint8_t places = 0;
    uint32_t number[max_scopes] = {no_index, no_index, no_index, no_index, no_index};
    const subject* who[max_scopes] = {&nobody, &nobody, &nobody, &nobody, &nobody};
    std::string_view name[max_scopes] = {};
    uint8_t states_taken[max_scopes] = {}; // of requests: bits
    uint8_t kept = 0;                      // places whose rates are in the journal: bits
    uint32_t hour = hour_of(request.now_ms);

    void add(const subject_table& subjects, subject_kind scope, std::string_view its_name, uint32_t known)
    {
        size_t place = place_of(scope);
        places |= static_cast<uint8_t>(1u << place);
        name[place] = its_name;
        number[place] = known;
        if (known != no_index) {
            who[place] = &subjects.at(known);
        }
    }

    uint64_t ms_to_end(quota_window window, uint32_t at) const
    {
        if (window == quota_window::total) {
            return limit_refusal::wait_never;
        }
        return less(uint64_t{quota_end(window, at)} * 3600000,
                    static_cast<uint64_t>(std::max<int64_t>(request.now_ms, 0)));
    }

    void refuse(const limit_rule& rule, limit_kind kind, uint64_t limit, uint64_t wait_ms)
    {
        if (rule.dry_run) {
            dry_run_refusals |= dry_run_bit(kind, rule.scope);
            return;
        }
        cut |= rule.hard && kind == limit_kind::quota;
        if (refused_by.kind == limit_kind::none || wait_ms > refused_by.wait_ms) {
            refused_by = {kind, rule.scope, kind == limit_kind::quota ? rule.what.window : quota_window::none,
                          limit, wait_ms};
        }
    }

    void report_requests(const gcra& shape, const gcra::view& seen)
    {
        uint64_t taken = as_it_stands ? 0 : 1;
        if (!report.has_requests
            || (report.requests_remaining != 0
                && shape.remain_fewer(seen.used_ns, report.requests_remaining + taken))) {
            report.has_requests = true;
            report.requests_limit = shape.capacity;
            report.requests_remaining = less(shape.remaining(seen.used_ns), taken);
            report.requests_reset_ms = ms_of(add_up(seen.used_ns, taken * shape.interval_ns));
        }
    }

    void report_tokens(const gcra& shape, const gcra::view& seen, uint64_t units)
    {
        uint64_t taken = as_it_stands ? 0 : units;
        if (!report.has_tokens
            || (report.tokens_remaining != 0
                && shape.remain_fewer(seen.used_ns, add_up(report.tokens_remaining, taken)))) {
            report.has_tokens = true;
            report.tokens_limit = shape.capacity;
            report.tokens_remaining = less(shape.remaining(seen.used_ns), taken);
            report.tokens_reset_ms = ms_of(add_up(seen.used_ns, multiply_up(taken, shape.interval_ns)));
        }
    }

    void report_quota(const limits& what, uint64_t taken, uint32_t at)
    {
        uint64_t remaining = less(what.quota, add_up(taken, as_it_stands ? 0 : tokens));
        if (!report.has_tokens || remaining < report.tokens_remaining) {
            report.has_tokens = true;
            report.tokens_limit = what.quota;
            report.tokens_remaining = remaining;
            report.tokens_reset_ms = ms_to_end(what.window, at);
        }
    }
};

void admission::judge(decision& d, size_t place, const limit_rule& rule) const
{
    const subject& s = *d.who[place];
    const limits& what = rule.what;
    const uint64_t now = d.request.now_ns;

    if (what.requests.amount && !d.extending) {
        gcra shape = shape_of_requests(what);
        gcra::view seen = shape.look(s.rates.tat_of(rate_of_requests, shape.interval_ns), now, 1);
        if (!seen.allowed) {
            d.refuse(rule, limit_kind::requests, shape.capacity, ms_of(seen.wait_ns));
        }
        if (!rule.dry_run) {
            d.report_requests(shape, seen);
        }
    }

    if (what.concurrency >= 0 && !d.extending && s.in_flight >= static_cast<uint64_t>(what.concurrency)) {
        d.refuse(rule, limit_kind::concurrency, static_cast<uint64_t>(what.concurrency),
                 limit_refusal::wait_unknown);
    }

    if (what.tokens.amount) {
        gcra shape = shape_of_tokens(what);
        uint64_t units = std::min(d.tokens, shape.capacity);
        gcra::view seen = shape.look(s.rates.tat_of(rate_of_tokens, shape.interval_ns), now, units);
        if (!seen.allowed) {
            d.refuse(rule, limit_kind::tokens, shape.capacity, ms_of(seen.wait_ns));
        }
        if (!rule.dry_run) {
            d.report_tokens(shape, seen, units);
        }
    }

    if (what.window != quota_window::none) {
        uint32_t hour = std::max(d.hour, s.counts.hour);
        uint64_t used = s.counts.used_in(what.window, hour);
        uint64_t taken = add_up(used, s.reserved);
        if (rule.hard && !rule.dry_run) {
            d.hard_left = std::min(d.hard_left, less(what.quota, taken));
        }
        if (taken >= what.quota) {
            // What is only reserved may come back at any moment.
            d.refuse(rule, limit_kind::quota, what.quota,
                     used >= what.quota ? d.ms_to_end(what.window, hour) : limit_refusal::wait_unknown);
        }
        if (!rule.dry_run) {
            d.report_quota(what, taken, hour);
        }
    }
}

// Limits that are the same state (of one interval) are taken from once.
void admission::take(decision& d, size_t place, const limit_rule& rule)
{
    subject& s = subjects_.at(d.number[place]);
    lease_hold& hold = d.l->holds[place];
    const limits& what = rule.what;
    const uint64_t now = d.request.now_ns;

    if ((what.requests.amount | what.tokens.amount) != 0 && !(d.kept >> place & 1)) {
        d.kept |= static_cast<uint8_t>(1u << place);
        keep_rates(s);
    }

    if (what.requests.amount) {
        const uint64_t interval_ns = what.requests.interval_ns;
        if (!rule.dry_run
            || shape_of_requests(what).allows(s.rates.tat_of(rate_of_requests, interval_ns), now, 1)) {
            unsigned state = s.rates.claim_state(rate_of_requests, interval_ns, now);
            if (state == subject_rates::own_states || !(d.states_taken[place] >> state & 1)) {
                d.states_taken[place] |= static_cast<uint8_t>(1u << state);
                s.rates.take(rate_of_requests, state, interval_ns, now, 1);
            }
        }
    }

    if (what.tokens.amount) {
        gcra shape = shape_of_tokens(what);
        uint64_t units = std::min(d.tokens, shape.capacity);
        bool allowed =
            !rule.dry_run || shape.allows(s.rates.tat_of(rate_of_tokens, shape.interval_ns), now, units);
        lease_hold::rate_hold* held = hold.rates;
        while (held != std::end(hold.rates) && held->interval_ns != 0
               && held->interval_ns != shape.interval_ns) {
            held++;
        }
        bool again = held != std::end(hold.rates) && held->interval_ns != 0;
        if (allowed && !again) {
            unsigned state = s.rates.claim_state(rate_of_tokens, shape.interval_ns, now);
            s.rates.take(rate_of_tokens, state, shape.interval_ns, now, units);
            if (held != std::end(hold.rates)) {
                *held = {shape.interval_ns, static_cast<uint32_t>(units), s.rates.epoch[state],
                         static_cast<uint8_t>(state)};
            }
        }
    }

    if (what.window != quota_window::none) {
        hold.windows |= bit_of(what.window);
        hold.reserved = d.tokens;
    }
}

// Counts the lease-to-be at its subjects as it goes, so that none of them is used again for another.
bool admission::find_or_make_all(decision& d)
{
    for (size_t place = 0; place < max_scopes; place++) {
        if (!(d.places >> place & 1)) {
            continue;
        }
        if (d.number[place] != no_index) {
            subjects_.at(d.number[place]).in_flight++;
        }
    }
    bool all = true;
    for (size_t place = 0; place < max_scopes && all; place++) {
        if ((d.places >> place & 1) && d.number[place] == no_index) {
            auto kind = static_cast<subject_kind>(place + static_cast<size_t>(subject_kind::key));
            d.number[place] = subjects_.find_or_make(kind, d.name[place], d.request.now());
            all = d.number[place] != no_index;
            if (all) {
                subjects_.at(d.number[place]).in_flight++;
            }
        }
    }
    d.l = all ? leases_.take() : nullptr;
    if (!d.l) {
        for (uint32_t n : d.number) {
            if (n != no_index) {
                subjects_.at(n).in_flight--;
            }
        }
    }
    return d.l;
}

void admission::keep_counts(subject& s, bool and_rates)
{
    static_assert(offsetof(subject, counts) == offsetof(subject, rates) + sizeof s.rates);
    if (and_rates) {
        journal_.keep(&s.rates, sizeof s.rates + sizeof s.counts);
    } else {
        journal_.keep(&s.counts, sizeof s.counts);
    }
}

void admission::keep_rates(subject& s)
{
    journal_.keep(&s.rates, sizeof s.rates);
}

void admission::prepare(admission_request& request) const
{
    request.prepared = true;
    request.scopes = scopes_of(request.rules);
    if (request.scopes & bit_of(subject_kind::address)) {
        request.address_hash = subjects_.keyed_hash(address_name(request.address));
        subjects_.prefetch(subject_kind::address, request.address_hash);
    }
    if (request.asks_model && (request.scopes & bit_of(subject_kind::model))) {
        request.model_hash = subjects_.keyed_hash(request.model);
        subjects_.prefetch(subject_kind::model, request.model_hash);
    }
}

void admission::prefetch(const shared_key& key) const
{
    for (uint32_t subject : {key.key_subject, key.user_subject}) {
        if (subject != no_index) {
            subjects_.prefetch(subject);
        }
    }
}

admission_result admission::admit(const admission_request& request, shared_key& key)
{
    decision d{request, std::min<uint64_t>(request.estimate, UINT32_MAX), false};
    const uint8_t scopes = request.prepared ? request.scopes : scopes_of(request.rules);
    auto wanted = [scopes](subject_kind kind) { return (scopes & bit_of(kind)) != 0; };
    auto find = [&](subject_kind kind, std::string_view name, uint64_t hash) {
        return request.prepared ? subjects_.find(kind, name, hash) : subjects_.find(kind, name);
    };

    uint32_t key_subject = key.key_subject;
    if (key_subject == no_index) {
        key_subject = subjects_.find(subject_kind::key, key.name.view());
    }
    d.add(subjects_, subject_kind::key, key.name.view(), key_subject);
    if (key.user.size != 0) {
        uint32_t user_subject = key.user_subject;
        if (user_subject == no_index) {
            user_subject = subjects_.find(subject_kind::user, key.user.view());
        }
        d.add(subjects_, subject_kind::user, key.user.view(), user_subject);
    }
    char longer[max_name];
    if (request.asks_model && wanted(subject_kind::model)) {
        std::string_view name = model_name(subjects_, request.model, longer);
        d.add(subjects_, subject_kind::model, name,
              name.size() == request.model.size() ? find(subject_kind::model, name, request.model_hash)
                                                  : subjects_.find(subject_kind::model, name));
    }
    if (wanted(subject_kind::address)) {
        std::string_view name = address_name(request.address);
        d.add(subjects_, subject_kind::address, name,
              find(subject_kind::address, name, request.address_hash));
    }
    if (wanted(subject_kind::zone)) {
        d.add(subjects_, subject_kind::zone, {}, subjects_.find(subject_kind::zone, {}));
    }

    const limits* own = key.policy->limited ? &key.policy->limit : nullptr;
    auto judge_all = [&] {
        each_rule(request.rules, own, d.places,
                  [&](size_t place, const limit_rule& rule) { judge(d, place, rule); });
    };
    judge_all();
    if (d.refused_by.kind != limit_kind::none) {
        d.as_it_stands = true;
        d.report = {};
        judge_all();
        return {verdict::limited, nullptr, d.refused_by, d.dry_run_refusals, d.report};
    }
    if (!find_or_make_all(d)) {
        return {verdict::zone_full};
    }
    key.key_subject = d.number[place_of(subject_kind::key)];
    key.user_subject = d.number[place_of(subject_kind::user)];

    lease& l = *d.l;
    journal_.keep(&l.is, sizeof l.is);
    l.owner.store(request.owner, std::memory_order_relaxed);
    l.stream = request.stream;
    l.started_ms = request.now_ms;
    l.weights = request.weights;
    std::string_view model = utf8_cut(request.model, lease::max_model);
    l.model_len = static_cast<uint8_t>(model.size());
    if (!model.empty()) {
        memcpy(l.model_bytes, model.data(), model.size());
    }
    l.set_progress({});
    for (size_t place = 0; place < max_scopes; place++) {
        lease_hold& hold = l.holds[place];
        hold.who = d.number[place];
        if (hold.who != no_index) {
            hold.windows = 0;
            hold.reserved = 0;
            for (lease_hold::rate_hold& held : hold.rates) {
                held.interval_ns = 0;
            }
        }
    }
    each_rule(request.rules, own, d.places,
              [&](size_t place, const limit_rule& rule) { take(d, place, rule); });
    for (const lease_hold& hold : l.holds) {
        if (hold.who != no_index) {
            subjects_.at(hold.who).reserved += hold.reserved;
        }
    }
    l.is.store(lease::state::running, std::memory_order_release);
    journal_.commit();
    return {verdict::ok, &l, {}, d.dry_run_refusals, d.report, d.hard_left};
}

extension_result admission::extend(lease& l, const admission_request& request, const shared_key* key,
                                   uint64_t more)
{
    decision d{request, std::min<uint64_t>(more, UINT32_MAX), true};
    for (size_t place = 0; place < max_scopes; place++) {
        if (l.holds[place].who != no_index) {
            d.places |= static_cast<uint8_t>(1u << place);
            d.who[place] = &subjects_.at(l.holds[place].who);
        }
    }
    each_rule(request.rules, key && key->policy->limited ? &key->policy->limit : nullptr, d.places,
              [&](size_t place, const limit_rule& rule) { judge(d, place, rule); });

    journal_.keep(l.holds, sizeof l.holds);
    for (lease_hold& hold : l.holds) {
        if (hold.who == no_index) {
            continue;
        }
        subject& s = subjects_.at(hold.who);
        if (hold.rates[0].interval_ns != 0) {
            keep_rates(s);
        }
        if (hold.windows) {
            hold.reserved = add_up(hold.reserved, d.tokens);
            s.reserved = add_up(s.reserved, d.tokens);
        }
        for (lease_hold::rate_hold& held : hold.rates) {
            if (held.interval_ns == 0) {
                continue;
            }
            unsigned state = s.rates.claim_state(rate_of_tokens, held.interval_ns, request.now_ns);
            s.rates.take(rate_of_tokens, state, held.interval_ns, request.now_ns, d.tokens);
            held.tokens = static_cast<uint32_t>(std::min<uint64_t>(held.tokens + d.tokens, UINT32_MAX));
            held.epoch = s.rates.epoch[state];
            held.state = static_cast<uint8_t>(state);
        }
    }
    journal_.commit();
    return {d.refused_by.kind != limit_kind::none, d.cut, d.refused_by, d.dry_run_refusals};
}

} // namespace llm
