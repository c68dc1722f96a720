#include "admission.h"

#include "core/base/address.h"
#include "core/base/utf8.h"

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
        scopes |= bit_of(rule.scope());
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
static_assert(undo_journal::max_bytes >= sizeof(subject_rates) + sizeof(subject_counts));

std::string_view address_name(std::span<const uint8_t> address)
{
    address = unmapped(address);
    size_t size = std::min<size_t>(address.size(), address.size() == 16 ? 8 : max_name);
    return {reinterpret_cast<const char*>(address.data()), size};
}

struct admission::decision {
    decision(const admission_request& its_request, uint64_t units, bool is_extension, own_limits* key_limits)
        : request(its_request), tokens(std::min<uint64_t>(units, UINT32_MAX)), extending(is_extension),
          own(key_limits)
    {
    }

    const admission_request& request;
    uint64_t tokens; // to be taken
    bool extending;
    own_limits* own; // the key's, or nullptr

    lease* l = nullptr;
    bool as_it_stands = false; // what is reported is the state without this request
    bool cut = false;
    uint64_t hard_left = UINT64_MAX;
    limit_refusal refused_by = {};
    uint64_t dry_run_refusals = 0;
    limit_report report = {}; // without the moments of rates, see whole_report()
    uint64_t requests_reset_ns = 0;
    uint64_t tokens_reset_ns = 0;
    bool tokens_by_quota = false;

    // Whom the request is for, at the places that are set; nothing is set at others.
    struct party {
        const subject* who; // nobody, if it has no record
        uint32_t number;    // no_index, if it has no record
        uint32_t name_size;
        const char* name;

        std::string_view its_name() const { return {name, name_size}; }
    };
    uint8_t places = 0;
    uint8_t missing = 0; // places whose records are to be made
    uint8_t rated = 0;   // places that rates are in force for
    bool shares = false; // names of it are counted with others of its key
    uint32_t hour = hour_of(request.now_ms);
    party parties[max_scopes];

    void add(const subject_table& subjects, subject_kind scope, std::string_view name, uint32_t number)
    {
        const size_t place = place_of(scope);
        const auto bit = static_cast<uint8_t>(1u << place);
        places |= bit;
        const subject* who = &nobody;
        if (number != no_index) {
            who = &subjects.at(number);
        } else {
            missing |= bit;
        }
        parties[place] = {who, number, static_cast<uint32_t>(name.size()), name.data()};
    }

    // Whether the request is for somebody there.
    bool has(size_t place) const { return (places >> place & 1) != 0; }

    uint64_t ms_to_end(quota_window window, uint32_t at) const
    {
        if (window == quota_window::total) {
            return limit_refusal::wait_never;
        }
        return less(uint64_t{quota_end(window, at)} * 3600000,
                    static_cast<uint64_t>(std::max<int64_t>(request.now_ms, 0)));
    }

    // Apart, so that the way of those who are let in stays short.
    [[gnu::noinline]] void refuse(const limit_rule& rule, limit_kind kind, uint64_t limit, uint64_t wait_ms)
    {
        if (rule.dry_run()) {
            dry_run_refusals |= dry_run_bit(kind, rule.scope());
            return;
        }
        cut |= rule.hard() && kind == limit_kind::quota;
        if (refused_by.kind == limit_kind::none || wait_ms > refused_by.wait_ms) {
            refused_by = {kind, rule.scope(),
                          kind == limit_kind::quota ? rule.what().window : quota_window::none, limit,
                          wait_ms};
        }
    }

    // `after_ns` is what is in use of the limit after the decision.
    void report_requests(const gcra& shape, uint64_t after_ns)
    {
        if (!report.has_requests || shape.remain_fewer(after_ns, report.requests_remaining)) {
            report.has_requests = true;
            report.requests_limit = shape.capacity;
            report.requests_remaining = shape.remaining(after_ns);
            requests_reset_ns = after_ns;
        }
    }

    void report_tokens(const gcra& shape, uint64_t after_ns)
    {
        if (!report.has_tokens || shape.remain_fewer(after_ns, report.tokens_remaining)) {
            report.has_tokens = true;
            report.tokens_limit = shape.capacity;
            report.tokens_remaining = shape.remaining(after_ns);
            tokens_reset_ns = after_ns;
            tokens_by_quota = false;
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
            tokens_by_quota = true;
        }
    }

    // Milliseconds are reckoned of the two that it has come to only.
    const limit_report& whole_report()
    {
        if (report.has_requests) {
            report.requests_reset_ms = ms_of(requests_reset_ns);
        }
        if (report.has_tokens && !tokens_by_quota) {
            report.tokens_reset_ms = ms_of(tokens_reset_ns);
        }
        return report;
    }
};

void admission::judge(decision& d) const
{
    const uint64_t now = d.request.now_ns;

    each_rule(d.request.rules, d.own, d.places, [&](const limit_rule& rule) {
        const subject& s = *d.parties[rule.place()].who;
        const limits& what = rule.what();
        d.rated |= rule.rated_bit();

        if (const gcra& shape = rule.requests(); shape.limits() && !d.extending) {
            gcra::view seen = shape.look(s.rates.tat_of(rate_of_requests, shape.label), now, 1);
            if (!seen.allowed) [[unlikely]] {
                d.refuse(rule, limit_kind::requests, shape.capacity, ms_of(seen.wait_ns));
            }
            if (!rule.dry_run()) {
                d.report_requests(shape, d.as_it_stands ? seen.used_ns : seen.after_ns);
            }
        }

        // Where none is given, -1 becomes more than there ever are.
        if (s.in_flight >= static_cast<uint64_t>(what.concurrency) && !d.extending) [[unlikely]] {
            d.refuse(rule, limit_kind::concurrency, static_cast<uint64_t>(what.concurrency),
                     limit_refusal::wait_unknown);
        }

        if (const gcra& shape = rule.tokens(); shape.limits()) {
            uint64_t units = std::min(d.tokens, shape.capacity);
            gcra::view seen = shape.look(s.rates.tat_of(rate_of_tokens, shape.label), now, units);
            if (!seen.allowed) [[unlikely]] {
                d.refuse(rule, limit_kind::tokens, shape.capacity, ms_of(seen.wait_ns));
            }
            if (!rule.dry_run()) {
                d.report_tokens(shape, d.as_it_stands ? seen.used_ns : seen.after_ns);
            }
        }

        if (what.window != quota_window::none) {
            uint32_t hour = s.counts.hour_of_use(what.window, d.hour);
            uint64_t used = s.counts.used_in(what.window, d.hour);
            uint64_t taken = add_up(used, s.reserved);
            if (rule.hard() && !rule.dry_run()) {
                d.hard_left = std::min(d.hard_left, less(what.quota, taken));
            }
            if (taken >= what.quota) [[unlikely]] {
                // What is only reserved may come back at any moment.
                d.refuse(rule, limit_kind::quota, what.quota,
                         used >= what.quota ? d.ms_to_end(what.window, hour) : limit_refusal::wait_unknown);
            }
            if (!rule.dry_run()) {
                d.report_quota(what, taken, hour);
            }
        }
    });
}

// Limits that are the same state (of one interval) are taken from once.
void admission::take(decision& d)
{
    lease& l = *d.l;
    const uint64_t now = d.request.now_ns;
    const uint64_t tokens = d.tokens;
    uint8_t states_taken[max_scopes] = {}; // of requests: bits

    each_rule(d.request.rules, d.own, d.places, [&](const limit_rule& rule) {
        const size_t place = rule.place();
        subject& s = subjects_.at(d.parties[place].number);
        lease_hold& hold = l.holds[place];

        if (const gcra& shape = rule.requests(); shape.limits()) {
            if (!rule.dry_run() || shape.allows(s.rates.tat_of(rate_of_requests, shape.label), now, 1)) {
                unsigned state = s.rates.claim_state(rate_of_requests, shape.label, now);
                if (state == subject_rates::own_states || !(states_taken[place] >> state & 1)) {
                    states_taken[place] |= static_cast<uint8_t>(1u << state);
                    s.rates.take(rate_of_requests, state, shape.interval_ns, now, 1);
                }
            }
        }

        if (rule.what().window != quota_window::none) {
            if (hold.windows == 0) {
                hold.reserved = tokens;
                s.reserved += tokens;
            }
            hold.windows |= bit_of(rule.what().window);
        }

        const gcra& shape = rule.tokens();
        const uint64_t units = std::min(tokens, shape.capacity);
        if (!shape.limits()
            || (rule.dry_run() && !shape.allows(s.rates.tat_of(rate_of_tokens, shape.label), now, units))) {
            return;
        }
        lease_hold::rate_hold* held = hold.rates;
        for (; held != std::end(hold.rates) && held->interval_ns != 0; held++) {
            if (held->interval_ns == shape.interval_ns) {
                return;
            }
        }
        unsigned state = s.rates.claim_state(rate_of_tokens, shape.label, now);
        s.rates.take(rate_of_tokens, state, shape.interval_ns, now, units);
        if (held != std::end(hold.rates)) {
            *held = {shape.interval_ns, static_cast<uint32_t>(units), s.rates.epoch[state],
                     static_cast<uint8_t>(state)};
        }
    });
}

// Counts the lease-to-be at its subjects while it makes others, so that none of them is used again for these.
bool admission::make_missing(decision& d)
{
    uint8_t counted = 0;
    bool all = true;
    for (bool making : {false, true}) {
        for (size_t place = 0; place < max_scopes && all; place++) {
            decision::party& party = d.parties[place];
            if (!d.has(place) || (d.missing >> place & 1) != making) {
                continue;
            }
            if (making) {
                auto kind = static_cast<subject_kind>(place + static_cast<size_t>(subject_kind::key));
                const moment now = d.request.now();
                if (chosen_with_key(kind)) {
                    const uint32_t key = d.parties[place_of(subject_kind::key)].number;
                    party.number = subjects_.find_or_make_for(key, kind, party.its_name(), now);
                    d.shares = d.shares || subjects_.is_shared(party.number);
                } else {
                    party.number = subjects_.find_or_make(kind, party.its_name(), now);
                    all = party.number != no_index;
                }
            }
            if (all) {
                party.who = &subjects_.at(party.number);
                subjects_.at(party.number).in_flight++;
                counted |= static_cast<uint8_t>(1u << place);
            }
        }
    }
    for (size_t place = 0; place < max_scopes; place++) {
        if (counted >> place & 1) {
            subjects_.at(d.parties[place].number).in_flight--;
        }
    }
    return all;
}

void admission::prepare(admission_request& request) const
{
    request.prepared = true;
    request.scopes = scopes_of(request.rules);
    const bool few = subjects_.few();
    if (request.scopes & bit_of(subject_kind::address)) {
        request.address_hash = subjects_.keyed_hash(address_name(request.address));
        if (!few) {
            subjects_.prefetch(subject_kind::address, request.address_hash);
        }
    }
    if (request.asks_model && (request.scopes & bit_of(subject_kind::model))) {
        request.model_hash = subjects_.keyed_hash(request.model);
        if (!few) {
            subjects_.prefetch(subject_kind::model, request.model_hash);
        }
    }
}

void admission::prefetch(const shared_key& key) const
{
    if (subjects_.few()) {
        return;
    }
    if (key.key_subject != no_index) {
        subjects_.prefetch(key.key_subject);
    }
    if (key.user_subject != no_index) {
        subjects_.prefetch(key.user_subject);
    }
}

admission_result admission::admit(const admission_request& request, shared_key& key, own_limits* own)
{
    decision d(request, request.estimate, false, own);
    const uint8_t scopes = request.prepared ? request.scopes : scopes_of(request.rules);
    auto wanted = [scopes](subject_kind kind) { return (scopes & bit_of(kind)) != 0; };
    auto find = [&](subject_kind kind, std::string_view name, uint64_t hash) {
        return request.prepared ? subjects_.find(kind, name, hash) : subjects_.find(kind, name);
    };

    uint32_t key_subject = key.key_subject;
    if (key_subject == no_index) {
        key_subject = subjects_.find(subject_kind::key, key.name.view());
    }
    auto add_chosen = [&](subject_kind kind, std::string_view name, uint32_t number) {
        if (number == no_index) [[unlikely]] {
            number = subjects_.sharing(key_subject, kind, request.now());
            d.shares = d.shares || number != no_index;
        }
        d.add(subjects_, kind, name, number);
    };
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
        add_chosen(subject_kind::model, name,
                   name.size() == request.model.size() ? find(subject_kind::model, name, request.model_hash)
                                                       : subjects_.find(subject_kind::model, name));
    }
    if (wanted(subject_kind::address)) {
        std::string_view name = address_name(request.address);
        add_chosen(subject_kind::address, name, find(subject_kind::address, name, request.address_hash));
    }
    if (wanted(subject_kind::zone)) {
        d.add(subjects_, subject_kind::zone, {}, subjects_.zone());
    }

    judge(d);
    if (d.refused_by.kind != limit_kind::none) {
        return refused(d);
    }
    if (d.missing != 0) {
        if (!make_missing(d)) {
            return {verdict::zone_full};
        }
        // What was nobody's then may be counted together with others now.
        if (d.shares) [[unlikely]] {
            judge_again(d);
            if (d.refused_by.kind != limit_kind::none) {
                return refused(d);
            }
        }
    }
    d.l = leases_.take();
    if (!d.l) {
        return {verdict::zone_full};
    }
    key.key_subject = d.parties[place_of(subject_kind::key)].number;
    if (d.has(place_of(subject_kind::user))) {
        key.user_subject = d.parties[place_of(subject_kind::user)].number;
    }

    lease& l = *d.l;
    journal_.keep(&l.is, sizeof l.is);
    l.owner.store(request.owner, std::memory_order_relaxed);
    l.stream = request.stream;
    l.answered.store(false, std::memory_order_relaxed);
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
        if (!d.has(place)) {
            hold.who = no_index;
            continue;
        }
        hold.who = d.parties[place].number;
        hold.windows = 0;
        hold.reserved = 0;
        for (lease_hold::rate_hold& held : hold.rates) {
            held.interval_ns = 0;
        }
        subject& s = subjects_.at(hold.who);
        s.in_flight++;
        if (d.rated >> place & 1) {
            keep_rates(s);
        }
    }
    take(d);
    l.is.store(lease::state::running, std::memory_order_release);
    journal_.commit();
    return {verdict::ok, &l, {}, d.dry_run_refusals, d.whole_report(), d.hard_left, d.shares};
}

void admission::judge_again(decision& d) const
{
    d.rated = 0;
    d.hard_left = UINT64_MAX;
    d.refused_by = {};
    d.dry_run_refusals = 0;
    d.report = {};
    judge(d);
}

admission_result admission::refused(decision& d) const
{
    d.as_it_stands = true;
    judge_again(d);
    return {verdict::limited, nullptr,    d.refused_by, d.dry_run_refusals,
            d.whole_report(), UINT64_MAX, d.shares};
}

extension_result admission::extend(lease& l, const admission_request& request, const shared_key* key,
                                   uint64_t more)
{
    if (key && key->policy->limited) {
        own_limits own(key->policy->limit, request.rules);
        return extend(l, request, &own, more);
    }
    return extend(l, request, static_cast<own_limits*>(nullptr), more);
}

extension_result admission::extend(lease& l, const admission_request& request, own_limits* own, uint64_t more)
{
    decision d(request, more, true, own);
    for (size_t place = 0; place < max_scopes; place++) {
        if (l.holds[place].who != no_index) {
            d.add(subjects_, static_cast<subject_kind>(place + static_cast<size_t>(subject_kind::key)), {},
                  l.holds[place].who);
        }
    }
    judge(d);

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
            unsigned state = s.rates.claim_state(rate_of_tokens, label_of(held.interval_ns), request.now_ns);
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
