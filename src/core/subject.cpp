#include "subject_table.h"

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

// Drops what was counted in windows that have ended.
void subject_counts::begin_hour(uint32_t at)
{
    for (size_t i = 0; i < quota_windows; i++) {
        auto w = static_cast<quota_window>(i + 1);
        if ((windows & bit_of(w)) && quota_period(w, at) != quota_period(w, hour)) {
            windows &= static_cast<uint8_t>(~bit_of(w));
        }
    }
    hour = at;
}

void subject_counts::begin_windows(unsigned bits)
{
    for (unsigned left = bits; left != 0; left &= left - 1) {
        used[__builtin_ctz(left)] = 0;
    }
    windows |= static_cast<uint8_t>(bits);
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
