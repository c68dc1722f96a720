#include "decision.h"

namespace llm {

namespace {

uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

} // namespace

const subject decision::nobody{};

inline uint64_t decision::ms_to_end(quota_window window, uint32_t at) const
{
    if (window == quota_window::total) {
        return limit_refusal::wait_never;
    }
    return less(uint64_t{quota_end(window, at)} * 3600000,
                static_cast<uint64_t>(std::max<int64_t>(request.now_ms, 0)));
}

// Apart, so that the way of those who are let in stays short.
[[gnu::noinline]] void decision::refuse(const limit_rule& rule, limit_kind kind, uint64_t limit,
                                        uint64_t wait_ms, uint64_t period_ms)
{
    if (rule.dry_run()) {
        dry_run_refusals |= dry_run_bit(kind, rule.scope());
        return;
    }
    cut |= rule.hard() && kind == limit_kind::quota;
    if (refused_by.kind == limit_kind::none || wait_ms > refused_by.wait_ms) {
        refused_by = {
            kind,  rule.scope(), kind == limit_kind::quota ? rule.what().window : quota_window::none,
            limit, wait_ms,      period_ms};
    }
}

void decision::refuse_rate(const limit_rule& rule, limit_kind kind, const rate& what, uint64_t wait_ns)
{
    refuse(rule, kind, what.amount, ms_of(wait_ns), what.period_ms);
}

// `after_ns` is what is in use of the limit after the decision.
inline void decision::report_requests(const gcra& shape, uint64_t after_ns)
{
    if (!report.has_requests || shape.remain_fewer(after_ns, report.requests_remaining)) {
        report.has_requests = true;
        report.requests_limit = shape.capacity;
        report.requests_remaining = shape.remaining(after_ns);
        requests_reset_ns = after_ns;
    }
}

inline void decision::report_tokens(const gcra& shape, uint64_t after_ns)
{
    if (!report.has_tokens || shape.remain_fewer(after_ns, report.tokens_remaining)) {
        report.has_tokens = true;
        report.tokens_limit = shape.capacity;
        report.tokens_remaining = shape.remaining(after_ns);
        tokens_reset_ns = after_ns;
        tokens_by_quota = false;
    }
}

inline void decision::report_quota(const limits& what, uint64_t taken, uint32_t at)
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

const limit_report& decision::whole_report()
{
    if (report.has_requests) {
        report.requests_reset_ms = ms_of(requests_reset_ns);
    }
    if (report.has_tokens && !tokens_by_quota) {
        report.tokens_reset_ms = ms_of(tokens_reset_ns);
    }
    return report;
}

void decision::judge()
{
    const uint64_t now = request.now_ns;

    each_rule(request.rules, own, places, [&](const limit_rule& rule) {
        const subject& s = *parties[rule.place()].who;
        const limits& what = rule.what();
        rated |= rule.rated_bit();

        if (const gcra& shape = rule.requests(); shape.limits() && !extending) {
            gcra::view seen = shape.look(s.rates.tat_of(rate_of_requests, shape.label), now, 1);
            if (!seen.allowed) [[unlikely]] {
                refuse_rate(rule, limit_kind::requests, what.requests, seen.wait_ns);
            }
            if (!rule.dry_run()) {
                report_requests(shape, as_it_stands ? seen.used_ns : seen.after_ns);
            }
        }

        // Where none is given, -1 becomes more than there ever are.
        if (s.in_flight >= static_cast<uint64_t>(what.concurrency) && !extending) [[unlikely]] {
            refuse(rule, limit_kind::concurrency, static_cast<uint64_t>(what.concurrency),
                   limit_refusal::wait_unknown);
        }

        if (const gcra& shape = rule.tokens(); shape.limits()) {
            uint64_t units = std::min(tokens, shape.capacity);
            gcra::view seen = shape.look(s.rates.tat_of(rate_of_tokens, shape.label), now, units);
            if (!seen.allowed) [[unlikely]] {
                refuse_rate(rule, limit_kind::tokens, what.tokens, seen.wait_ns);
            }
            if (!rule.dry_run()) {
                report_tokens(shape, as_it_stands ? seen.used_ns : seen.after_ns);
            }
        }

        if (what.window != quota_window::none) {
            uint32_t hour_of_use = s.counts.hour_of_use(what.window, hour);
            uint64_t used = s.counts.used_in(what.window, hour);
            uint64_t taken = add_up(used, s.reserved);
            if (rule.hard() && !rule.dry_run()) {
                hard_left = std::min(hard_left, less(what.quota, taken));
            }
            if (taken >= what.quota) [[unlikely]] {
                // What is only reserved may come back at any moment.
                refuse(rule, limit_kind::quota, what.quota,
                       used >= what.quota ? ms_to_end(what.window, hour_of_use)
                                          : limit_refusal::wait_unknown);
            }
            if (!rule.dry_run()) {
                report_quota(what, taken, hour_of_use);
            }
        }
    });
}

void decision::judge_again()
{
    rated = 0;
    hard_left = UINT64_MAX;
    refused_by = {};
    dry_run_refusals = 0;
    report = {};
    judge();
}

} // namespace llm
