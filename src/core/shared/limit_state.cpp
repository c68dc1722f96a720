#include "limit_state.h"

#include "core/limit/quota.h"

#include <algorithm>

namespace llm {

namespace {

std::string_view period_of_rate(uint64_t ms)
{
    switch (ms) {
    case 1000:
        return "1s";
    case 60000:
        return "1m";
    case 3600000:
        return "1h";
    case 86400000:
        return "1d";
    default:
        return {};
    }
}

std::string_view period_of_quota(quota_window w)
{
    switch (w) {
    case quota_window::hour:
        return "1h";
    case quota_window::day:
        return "1d";
    case quota_window::week:
        return "w";
    case quota_window::month:
        return "mo";
    case quota_window::total:
        return "total";
    case quota_window::none:
        break;
    }
    return {};
}

uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

uint64_t ms_to_end(const subject& s, quota_window w, int64_t unix_ms)
{
    if (w == quota_window::total) {
        return forever;
    }
    const uint32_t hour = s.counts.hour_of_use(w, hour_of(unix_ms));
    return less(uint64_t{quota_end(w, hour)} * 3600000, static_cast<uint64_t>(std::max<int64_t>(unix_ms, 0)));
}

class list {
public:
    explicit list(std::span<limit_state, max_limit_states> to) : to_(to) {}

    void add(const limit_state& s)
    {
        for (limit_state& known : to_.first(n_)) {
            if (known.kind == s.kind && known.period == s.period) {
                known = s.remaining < known.remaining ? s : known;
                return;
            }
        }
        if (n_ < to_.size()) {
            to_[n_++] = s;
        }
    }
    void add_rate(limit_kind kind, const gcra& shape, const rate& what, uint64_t tat, uint64_t now_ns)
    {
        const uint64_t used_ns = less(tat, now_ns);
        add({kind, period_of_rate(what.period_ms), shape.capacity, shape.remaining(used_ns), ms_of(used_ns)});
    }
    size_t size() const { return n_; }

private:
    std::span<limit_state, max_limit_states> to_;
    size_t n_ = 0;
};

// Adds the limits of one rule.
void add_rule(list& states, const limit_rule& rule, const subject& s, const moment& now)
{
    if (rule.dry_run()) {
        return;
    }
    const limits& what = rule.what();
    if (const gcra& shape = rule.requests(); shape.limits()) {
        states.add_rate(limit_kind::requests, shape, what.requests,
                        s.rates.tat_of(rate_of_requests, shape.label), now.ns);
    }
    if (what.concurrency >= 0) {
        const auto most = static_cast<uint64_t>(what.concurrency);
        states.add({limit_kind::concurrency, {}, most, less(most, s.in_flight), forever});
    }
    if (const gcra& shape = rule.tokens(); shape.limits()) {
        states.add_rate(limit_kind::tokens, shape, what.tokens, s.rates.tat_of(rate_of_tokens, shape.label),
                        now.ns);
    }
    if (what.window != quota_window::none) {
        const uint64_t used = s.counts.used_in(what.window, hour_of(now.unix_ms));
        states.add({limit_kind::quota, period_of_quota(what.window), what.quota,
                    less(what.quota, add_up(used, s.reserved)), ms_to_end(s, what.window, now.unix_ms)});
    }
}

const subject& or_unused(const subject* who)
{
    static const subject unused{};
    return who ? *who : unused;
}

} // namespace

std::string_view limit_name_of(limit_kind kind)
{
    switch (kind) {
    case limit_kind::requests:
        return "requests";
    case limit_kind::tokens:
        return "tokens";
    case limit_kind::concurrency:
        return "concurrency";
    case limit_kind::quota:
        return "quota";
    case limit_kind::failures:
    case limit_kind::none:
        break;
    }
    return {};
}

size_t limit_states(const shared_policy& policy, const subject* who, std::span<const limit_rule> rules,
                    const moment& now, std::span<limit_state, max_limit_states> to)
{
    list states(to);
    own_limits own(policy.limit, rules);
    constexpr auto keys_only = static_cast<uint8_t>(1u << place_of(subject_kind::key));
    each_rule(rules, policy.limited ? &own : nullptr, keys_only,
              [&](const limit_rule& rule) { add_rule(states, rule, or_unused(who), now); });
    return states.size();
}

size_t limit_states_of_user(const subject* who, std::span<const limit_rule> rules, const moment& now,
                            std::span<limit_state, max_limit_states> to)
{
    list states(to);
    constexpr auto users_only = static_cast<uint8_t>(1u << place_of(subject_kind::user));
    each_rule(rules, nullptr, users_only,
              [&](const limit_rule& rule) { add_rule(states, rule, or_unused(who), now); });
    return states.size();
}

} // namespace llm
