#include "limit_rules.h"

namespace llm {

namespace {

// A rate that lacks a burst gets the first that a rule for keys has.
limit_rule over(limits own, std::span<const limit_rule> rules)
{
    bool hard = false;
    for (const limit_rule& rule : rules) {
        if (rule.scope() != subject_kind::key) {
            continue;
        }
        if (own.requests.amount && own.burst < 0) {
            own.burst = rule.what().burst;
        }
        if (own.tokens.amount && own.token_burst < 0) {
            own.token_burst = rule.what().token_burst;
        }
        hard |= rule.hard() && !rule.dry_run();
    }
    return {subject_kind::key, own, false, hard};
}

} // namespace

own_limits::own_limits(const limits& own, std::span<const limit_rule> rules)
    : rule_(over(own, rules)), left_(rule_)
{
}

const limit_rule& own_limits::left_of(const limit_rule& rule)
{
    if (left_of_ == &rule) {
        return left_;
    }
    const limits& own = rule_.what();
    limits left = rule.what();
    if (own.burst >= 0) {
        left.burst = own.burst;
    }
    if (own.token_burst >= 0) {
        left.token_burst = own.token_burst;
    }
    if (own.requests.amount) {
        left.requests = {};
    }
    if (own.tokens.amount) {
        left.tokens = {};
    }
    if (own.concurrency >= 0) {
        left.concurrency = -1;
    }
    if (own.window != quota_window::none) {
        left.window = quota_window::none;
    }
    left_ = {rule.scope(), left, rule.dry_run(), rule.hard()};
    left_of_ = &rule;
    return left_;
}

} // namespace llm
