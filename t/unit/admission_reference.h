// Admission once more, written to be seen to be right rather than to be fast: numbers that cannot overflow,
// maps, and everything that can be counted is counted anew each time.
#pragma once

#include "core/shared/shared_state.h"

#include <ctime>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace llm::reference {

using wide = __int128;
inline constexpr wide limit_of_time = UINT64_MAX;

inline wide at_most_forever(wide t)
{
    return t > limit_of_time ? limit_of_time : t;
}

inline uint64_t to_ms(wide ns)
{
    return ns >= limit_of_time ? UINT64_MAX : static_cast<uint64_t>((ns + 999999) / 1000000);
}

// One rate of one subject.
struct bucket {
    wide interval = 0; // 0 = free
    wide full_at = 0;
    uint64_t busy_period = 0;

    wide in_use(wide now) const { return full_at > now ? full_at - now : 0; }
};

struct shape {
    wide interval;
    wide capacity;

    shape(const rate& r, wide capacity) : capacity(capacity < 1 ? 1 : capacity)
    {
        wide period = wide{r.period_ms} * 1000000;
        interval = (period + r.amount - 1) / r.amount;
    }
    bool fits(const bucket& b, wide now, wide units) const
    {
        return b.in_use(now) + units * interval <= capacity * interval;
    }
    wide wait(const bucket& b, wide now, wide units) const
    {
        return fits(b, now, units) ? 0 : b.in_use(now) + units * interval - capacity * interval;
    }
    wide remaining(const bucket& b, wide now) const
    {
        wide left = capacity * interval - b.in_use(now);
        return left < 0 ? 0 : left / interval;
    }
};

struct bucket_set {
    bucket own[llm::subject_rates::own_states];
    bucket shared;

    bucket& find(wide interval)
    {
        for (bucket& b : own) {
            if (b.interval == interval) {
                return b;
            }
        }
        return shared;
    }

    bucket& take(wide interval, wide now, wide units)
    {
        bucket* b = &find(interval);
        for (int i = 0; b == &shared && i < static_cast<int>(llm::subject_rates::own_states); i++) {
            if (own[i].full_at <= now) {
                own[i] = {interval, shared.full_at, own[i].busy_period + 1};
                b = &own[i];
            }
        }
        if (b->full_at <= now) {
            b->full_at = now;
            b->busy_period++;
        }
        b->full_at = at_most_forever(b->full_at + units * interval);
        return *b;
    }
};

// When the window began, by the C library's calendar.
inline uint64_t period_begin_s(quota_window w, int64_t unix_s)
{
    time_t t = unix_s;
    tm date;
    gmtime_r(&t, &date);
    int64_t day = unix_s / 86400;
    switch (w) {
    case quota_window::hour:
        return static_cast<uint64_t>(unix_s / 3600 * 3600);
    case quota_window::day:
        return static_cast<uint64_t>(day * 86400);
    case quota_window::week:
        return static_cast<uint64_t>((day - (date.tm_wday + 6) % 7) * 86400);
    case quota_window::month:
        return static_cast<uint64_t>((day - date.tm_mday + 1) * 86400);
    default:
        return 0;
    }
}

inline uint64_t period_end_ms(quota_window w, int64_t unix_s)
{
    time_t t = unix_s;
    tm date;
    gmtime_r(&t, &date);
    date.tm_min = date.tm_sec = 0;
    switch (w) {
    case quota_window::hour:
        date.tm_hour++;
        break;
    case quota_window::day:
        date.tm_hour = 0;
        date.tm_mday++;
        break;
    case quota_window::week:
        date.tm_hour = 0;
        date.tm_mday += 7 - (date.tm_wday + 6) % 7;
        break;
    case quota_window::month:
        date.tm_hour = 0;
        date.tm_mday = 1;
        date.tm_mon++;
        break;
    default:
        return UINT64_MAX;
    }
    return static_cast<uint64_t>(timegm(&date)) * 1000;
}

using name = std::pair<subject_kind, std::string>;

struct account {
    bucket_set requests;
    bucket_set tokens;
    struct spent {
        uint64_t window_begins_s;
        uint64_t tokens;
    };
    int64_t counted_s = 0;              // when tokens were last counted, by the clock of that moment
    std::map<quota_window, spent> used; // of the window that they were counted in
    usage_totals totals;

    // Where tokens of a window count at this time: in the one that they are of, and before it if the clock
    // has stepped back, into the window before, by no more hours than a window has.
    bool counts(quota_window w, int64_t unix_s) const
    {
        auto found = used.find(w);
        if (found == used.end()) {
            return false;
        }
        if (w == quota_window::total) {
            return true;
        }
        const uint64_t begins = found->second.window_begins_s;
        const uint64_t this_one = period_begin_s(w, unix_s);
        int64_t most = w == quota_window::hour   ? 1
                       : w == quota_window::day  ? 24
                       : w == quota_window::week ? 168
                                                 : 744;
        return begins == this_one
               || (begins == period_end_ms(w, unix_s) / 1000 && counted_s / 3600 - unix_s / 3600 <= most);
    }
    // The end of the window that counts.
    uint64_t end_ms(quota_window w, int64_t unix_s) const
    {
        return period_end_ms(w, counts(w, unix_s) && w != quota_window::total
                                    ? static_cast<int64_t>(used.at(w).window_begins_s)
                                    : unix_s);
    }
};

struct running {
    struct rate_hold {
        wide interval;
        bucket* from;
        uint64_t busy_period;
        wide units;
    };
    struct hold {
        name who;
        std::vector<rate_hold> rates;
        std::vector<quota_window> windows;
        uint64_t reserved = 0;
    };
    uint32_t owner;
    usage_weights weights;
    token_counts progress;
    std::vector<hold> holds;
    lease* real = nullptr;
};

// What a request is, in the reference's words.
struct ask {
    std::vector<name> who; // key, user, model, address, zone
    limits of_key;
    std::vector<limit_rule> rules;
    uint64_t estimate;
    usage_weights weights;
    uint32_t owner;
    uint64_t ns;
    int64_t unix_ms;
};

struct gate {
    std::map<name, account> accounts;
    std::list<running> leases;

    uint64_t in_flight(const name& who) const
    {
        uint64_t n = 0;
        for (const running& l : leases) {
            for (const running::hold& h : l.holds) {
                n += h.who == who;
            }
        }
        return n;
    }
    uint64_t reserved(const name& who) const
    {
        uint64_t n = 0;
        for (const running& l : leases) {
            for (const running::hold& h : l.holds) {
                n += h.who == who ? h.reserved : 0;
            }
        }
        return n;
    }
    uint64_t used(const name& who, quota_window w, int64_t unix_s)
    {
        account& a = accounts[who];
        return a.counts(w, unix_s) ? a.used.at(w).tokens : 0;
    }

    static bool names(const ask& a, subject_kind scope)
    {
        for (const name& n : a.who) {
            if (n.first == scope) {
                return true;
            }
        }
        return false;
    }
    static const name& name_of(const ask& a, subject_kind scope)
    {
        for (const name& n : a.who) {
            if (n.first == scope) {
                return n;
            }
        }
        abort();
    }

    // The rules that hold for a request, each about one thing.
    struct one_rule {
        name who;
        limit_kind kind;
        std::optional<shape> rate;
        uint64_t number = 0;
        quota_window window = quota_window::none;
        bool dry_run;
        bool hard;
    };

    static std::vector<one_rule> in_force(const ask& a)
    {
        std::vector<one_rule> all;
        auto add = [&](subject_kind scope, const limits& l, bool dry, bool hard) {
            const name& who = name_of(a, scope);
            if (l.requests.amount) {
                wide capacity = l.burst < 0 ? wide{l.requests.amount} : wide{l.burst} + 1;
                all.push_back({who, limit_kind::requests, shape(l.requests, capacity), l.requests.amount, quota_window::none,
                               dry, hard});
            }
            if (l.concurrency >= 0) {
                all.push_back({who,
                               limit_kind::concurrency,
                               {},
                               static_cast<uint64_t>(l.concurrency),
                               quota_window::none,
                               dry,
                               hard});
            }
            if (l.tokens.amount) {
                wide capacity = l.token_burst < 0 ? wide{l.tokens.amount} : wide{l.token_burst};
                all.push_back(
                    {who, limit_kind::tokens, shape(l.tokens, capacity), l.tokens.amount, quota_window::none, dry, hard});
            }
            if (l.window != quota_window::none) {
                all.push_back({who, limit_kind::quota, {}, l.quota, l.window, dry, hard});
            }
        };

        const limits& own = a.of_key;
        limits merged = own;
        bool own_hard = false;
        for (const limit_rule& r : a.rules) {
            if (!names(a, r.scope())) {
                continue;
            }
            limits l = r.what();
            if (r.scope() == subject_kind::key) {
                own_hard |= r.hard() && !r.dry_run();
                // A burst goes with whichever rate is in force.
                if (own.requests.amount && merged.burst < 0) {
                    merged.burst = l.burst;
                }
                if (own.tokens.amount && merged.token_burst < 0) {
                    merged.token_burst = l.token_burst;
                }
                l.burst = own.burst >= 0 ? own.burst : l.burst;
                l.token_burst = own.token_burst >= 0 ? own.token_burst : l.token_burst;
                l.requests.amount = own.requests.amount ? 0 : l.requests.amount;
                l.tokens.amount = own.tokens.amount ? 0 : l.tokens.amount;
                l.concurrency = own.concurrency >= 0 ? -1 : l.concurrency;
                l.window = own.window != quota_window::none ? quota_window::none : l.window;
            }
            add(r.scope(), l, r.dry_run(), r.hard());
        }
        add(subject_kind::key, merged, false, own_hard);
        return all;
    }

    struct answer {
        limit_refusal refused_by;
        uint64_t dry_run_refusals = 0;
        limit_report report;
        bool cut = false;
        running* lease = nullptr;
    };

    void refuse(answer& to, const one_rule& r, uint64_t limit, uint64_t wait_ms)
    {
        if (r.dry_run) {
            to.dry_run_refusals |= dry_run_bit(r.kind, r.who.first);
            return;
        }
        if (r.hard && r.kind == limit_kind::quota) {
            to.cut = true;
        }
        if (to.refused_by.kind == limit_kind::none || wait_ms > to.refused_by.wait_ms) {
            to.refused_by = {r.kind, r.who.first, r.window, limit, wait_ms};
        }
    }

    // Decides without changing anything. The report is that of after `taking`.
    answer judge(const ask& a, const std::vector<one_rule>& rules, bool extending, bool taking)
    {
        answer to;
        for (const one_rule& r : rules) {
            account& acc = accounts[r.who];
            wide now = a.ns;
            if (r.rate && !(extending && r.kind == limit_kind::requests)) {
                bool tokens = r.kind == limit_kind::tokens;
                bucket& b = (tokens ? acc.tokens : acc.requests).find(r.rate->interval);
                wide units = tokens ? std::min<wide>(a.estimate, r.rate->capacity) : 1;
                if (!r.rate->fits(b, now, units)) {
                    refuse(to, r, r.number,
                           to_ms(r.rate->wait(b, now, units)));
                }
                wide taken = taking ? units : 0;
                wide left = std::max<wide>(r.rate->remaining(b, now) - taken, 0);
                uint64_t reset = to_ms(b.in_use(now) + taken * r.rate->interval);
                report(to, r, tokens, static_cast<uint64_t>(r.rate->capacity), left, reset);
            }
            if (r.kind == limit_kind::concurrency && !extending && in_flight(r.who) >= r.number) {
                refuse(to, r, r.number, limit_refusal::wait_unknown);
            }
            if (r.kind == limit_kind::quota) {
                int64_t unix_s = a.unix_ms / 1000;
                uint64_t spent = used(r.who, r.window, unix_s);
                wide taken = at_most_forever(wide{spent} + reserved(r.who));
                uint64_t end = acc.end_ms(r.window, unix_s);
                uint64_t wait = end == UINT64_MAX ? end : end - static_cast<uint64_t>(a.unix_ms);
                if (taken >= r.number) {
                    refuse(to, r, r.number, spent >= r.number ? wait : limit_refusal::wait_unknown);
                }
                wide left = std::max<wide>(wide{r.number} - taken - (taking ? a.estimate : 0), 0);
                report(to, r, true, r.number, left, wait);
            }
        }
        return to;
    }

    static void report(answer& to, const one_rule& r, bool tokens, uint64_t limit, wide left, uint64_t reset)
    {
        if (r.dry_run) {
            return;
        }
        limit_report& p = to.report;
        auto remaining = static_cast<uint64_t>(left);
        if (tokens && (!p.has_tokens || remaining < p.tokens_remaining)) {
            p.has_tokens = true;
            p.tokens_limit = limit;
            p.tokens_remaining = remaining;
            p.tokens_reset_ms = reset;
        } else if (!tokens && (!p.has_requests || remaining < p.requests_remaining)) {
            p.has_requests = true;
            p.requests_limit = limit;
            p.requests_remaining = remaining;
            p.requests_reset_ms = reset;
        }
    }

    answer admit(const ask& a)
    {
        std::vector<one_rule> rules = in_force(a);
        answer to = judge(a, rules, false, true);
        if (to.refused_by.kind != limit_kind::none) {
            return judge(a, rules, false, false);
        }

        running l{a.owner, a.weights, {}, {}, nullptr};
        for (const name& who : a.who) {
            account& acc = accounts[who];
            running::hold h{who, {}, {}, 0};
            std::vector<wide> requests_done;
            for (const one_rule& r : rules) {
                if (r.who != who) {
                    continue;
                }
                auto done = [&](const auto& list, auto interval_of) {
                    for (const auto& e : list) {
                        if (interval_of(e) == r.rate->interval) {
                            return true;
                        }
                    }
                    return false;
                };
                if (r.kind == limit_kind::requests) {
                    bool fits = r.rate->fits(acc.requests.find(r.rate->interval), a.ns, 1);
                    if ((fits || !r.dry_run) && !done(requests_done, [](wide i) { return i; })) {
                        bucket& b = acc.requests.take(r.rate->interval, a.ns, 1);
                        if (&b != &acc.requests.shared) {
                            requests_done.push_back(r.rate->interval);
                        }
                    }
                }
                if (r.kind == limit_kind::tokens) {
                    wide units = std::min<wide>(a.estimate, r.rate->capacity);
                    bool fits = r.rate->fits(acc.tokens.find(r.rate->interval), a.ns, units);
                    if ((fits || !r.dry_run)
                        && !done(h.rates, [](const running::rate_hold& e) { return e.interval; })) {
                        bucket& b = acc.tokens.take(r.rate->interval, a.ns, units);
                        if (h.rates.size() < lease_hold::max_rates) {
                            h.rates.push_back({r.rate->interval, &b, b.busy_period, units});
                        }
                    }
                }
                if (r.kind == limit_kind::quota) {
                    h.windows.push_back(r.window);
                    h.reserved = a.estimate;
                }
            }
            l.holds.push_back(h);
        }
        leases.push_back(l);
        to.lease = &leases.back();
        return to;
    }

    answer extend(running& l, const ask& a)
    {
        answer to = judge(a, in_force(a), true, false);
        for (running::hold& h : l.holds) {
            if (!h.windows.empty()) {
                h.reserved += a.estimate;
            }
            for (running::rate_hold& r : h.rates) {
                bucket& b = accounts[h.who].tokens.take(r.interval, a.ns, a.estimate);
                r.from = &b;
                r.busy_period = b.busy_period;
                r.units = std::min<wide>(r.units + a.estimate, UINT32_MAX);
            }
        }
        return to;
    }

    void settle(running& l, const token_counts& used, uint64_t ns, int64_t unix_ms)
    {
        wide thousandths = wide{used.prompt - used.cached} * l.weights.prompt
                           + wide{used.cached} * l.weights.cached
                           + wide{used.completion} * l.weights.completion;
        wide tokens = at_most_forever((thousandths + 999) / 1000);
        for (running::hold& h : l.holds) {
            account& acc = accounts[h.who];
            acc.totals.requests++;
            acc.totals.prompt += used.prompt;
            acc.totals.completion += used.completion;
            if (!h.windows.empty()) {
                const int64_t now_s = unix_ms / 1000;
                for (auto it = acc.used.begin(); it != acc.used.end();) {
                    it = acc.counts(it->first, now_s) ? std::next(it) : acc.used.erase(it);
                }
                acc.counted_s = now_s;
                std::set<quota_window> windows(h.windows.begin(), h.windows.end());
                for (quota_window w : windows) {
                    auto& s =
                        acc.used.try_emplace(w, account::spent{period_begin_s(w, now_s), 0}).first->second;
                    s.tokens = static_cast<uint64_t>(at_most_forever(wide{s.tokens} + tokens));
                }
            }
            for (running::rate_hold& r : h.rates) {
                bucket& b = acc.tokens.find(r.interval);
                if (tokens > r.units) {
                    if (&b == &acc.tokens.shared && r.from != &b && b.full_at < ns) {
                        b.full_at = ns;
                    }
                    b.full_at = at_most_forever(b.full_at + (tokens - r.units) * r.interval);
                } else if (&b == r.from && b.busy_period == r.busy_period) {
                    b.full_at = std::max<wide>(b.full_at - (r.units - tokens) * r.interval, 0);
                }
            }
        }
        leases.remove_if([&](const running& other) { return &other == &l; });
    }
};

} // namespace llm::reference
