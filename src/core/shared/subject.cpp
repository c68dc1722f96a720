#include "subject.h"

namespace llm {

unsigned subject_rates::claim_new_state(rate_kind kind, interval_label wanted, uint64_t now_ns)
{
    for (unsigned i = 0; i < own_states; i++) {
        if (tat[kind][i] > now_ns) {
            continue;
        }
        // What it may have taken from the shared state goes with it.
        label[kind][i] = wanted;
        tat[kind][i] = tat[kind][own_states];
        if (kind == rate_of_tokens) {
            epoch[i]++;
        }
        return i;
    }
    return own_states;
}

void subject_rates::owe(rate_kind kind, interval_label wanted, uint64_t now_ns, uint64_t ns)
{
    const unsigned state = wanted == interval_label::none ? own_states : claim_state(kind, wanted, now_ns);
    take(kind, state, ns, now_ns, 1);
}

// A clock that has stepped back meanwhile is treated as in counts_at().
void subject_counts::count_again(quota_window w, uint32_t of, uint32_t at, uint64_t tokens)
{
    const uint32_t its = quota_period(w, of);
    const uint32_t now = quota_period(w, at);
    const bool is_ahead = its == now + 1 && of - at <= quota_hours(w);
    if (its != now && !is_ahead) {
        return;
    }
    count(bit_of(w), at, tokens);
    ahead |= is_ahead ? bit_of(w) & 31 : 0;
}

// Drops what does not count in the windows of this hour.
void subject_counts::begin_hour(uint32_t at)
{
    unsigned kept = 0;
    unsigned kept_ahead = 0;
    for (unsigned left = windows; left != 0; left &= left - 1) {
        auto w = static_cast<quota_window>(__builtin_ctz(left) + 1);
        if (counts_at(w, at)) {
            kept |= bit_of(w);
            kept_ahead |= period_of_use(w) != quota_period(w, at) ? bit_of(w) : 0;
        }
    }
    windows = kept & 31;
    ahead = kept_ahead & 31;
    hour = at & 0x3fffff;
}

void subject_counts::begin_windows(unsigned bits)
{
    for (unsigned left = bits; left != 0; left &= left - 1) {
        used[__builtin_ctz(left)] = 0;
    }
    windows |= bits & 31;
}

void subject::forget_rates(uint64_t now_ns)
{
    for (auto& states : rates.tat) {
        for (uint64_t& t : states) {
            t = t > now_ns ? now_ns : t;
        }
    }
    // As of states that were found unused: what was taken before is not given back.
    for (uint16_t& e : rates.epoch) {
        e++;
    }
}

bool subject::at_rest(const moment& now) const
{
    if (in_flight != 0) {
        return false;
    }
    for (const auto& states : rates.tat) {
        for (uint64_t t : states) {
            if (t > now.ns) {
                return false;
            }
        }
    }
    uint32_t at = hour_of(now.unix_ms);
    for (size_t i = 0; counts.windows >> i != 0; i++) {
        auto w = static_cast<quota_window>(i + 1);
        if (counts.used_in(w, at) != 0) {
            return false;
        }
    }
    return true;
}

} // namespace llm
