#include "admission.h"

#include "subject_names.h"

#include "core/base/utf8.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

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

admission_result refused(decision& d)
{
    d.as_it_stands = true;
    d.judge_again();
    return {verdict::limited, nullptr,    d.refused_by, d.dry_run_refusals,
            d.whole_report(), UINT64_MAX, d.shares};
}

} // namespace

static_assert(undo_journal::max_blocks >= 1 + 2 * max_scopes);
static_assert(undo_journal::max_bytes >= sizeof(subject_rates));

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
                if (kind == subject_kind::user && !d.request.user.empty()) {
                    kind = subject_kind::named_user;
                }
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
    if (!request.user.empty()) {
        uint32_t user_subject = subjects_.find_user(request.user);
        if (user_subject == no_index) {
            user_subject = subjects_.sharing(key_subject, subject_kind::named_user, request.now());
            d.shares = d.shares || user_subject != no_index;
        }
        d.add(subjects_, subject_kind::user, request.user, user_subject);
    } else if (key.user.size != 0) {
        uint32_t user_subject = key.user_subject;
        if (user_subject == no_index) {
            user_subject = subjects_.find_user(key.user.view());
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

    d.judge();
    if (d.refused_by.kind != limit_kind::none) {
        return refused(d);
    }
    if (d.missing != 0) {
        if (!make_missing(d)) {
            return {verdict::zone_full};
        }
        // What was nobody's then may be counted together with others now.
        if (d.shares) [[unlikely]] {
            d.judge_again();
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
    // The record of one that an application names may be used again for others.
    if (const uint32_t user =
            d.has(place_of(subject_kind::user)) ? d.parties[place_of(subject_kind::user)].number : no_index;
        user != no_index && request.user.empty()
        && subjects_.at(user).kind.load(std::memory_order_relaxed) == subject_kind::user) {
        key.user_subject = user;
    }

    lease& l = *d.l;
    journal_.keep(&l.is, sizeof l.is);
    l.owner.store(request.owner, std::memory_order_relaxed);
    l.stream = request.stream;
    l.flags.store(0, std::memory_order_relaxed);
    l.answered.store(false, std::memory_order_relaxed);
    l.peer.store(lease::no_peer, std::memory_order_relaxed);
    l.first_content.store(0, std::memory_order_relaxed);
    l.has_server.store(false, std::memory_order_relaxed);
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
        subjects_.touch(s);
        if (d.rated >> place & 1) {
            journal_.keep(&s.rates, sizeof s.rates);
        }
    }
    take(d);
    leases_.become(l, lease::state::running);
    journal_.commit();
    return {verdict::ok, &l, {}, d.dry_run_refusals, d.whole_report(), d.hard_left, d.shares};
}

} // namespace llm
