#include "subject_table.h"

namespace llm {

namespace {

// Never 0, which is the label of a state that has none. Should two intervals have the same label, they share
// a state.
uint16_t label_of(uint64_t interval_ns)
{
    return static_cast<uint16_t>((interval_ns * 0x9e3779b97f4a7c15u) >> 48 | 1);
}

} // namespace

unsigned subject::state_of(rate_kind kind, uint64_t interval_ns) const
{
    uint16_t wanted = label_of(interval_ns);
    unsigned i = 0;
    while (i < own_states && label[kind][i] != wanted) {
        i++;
    }
    return i;
}

unsigned subject::claim_state(rate_kind kind, uint64_t interval_ns, uint64_t now_ns)
{
    unsigned state = state_of(kind, interval_ns);
    for (unsigned i = 0; state == own_states && i < own_states; i++) {
        if (tat[kind][i] > now_ns) {
            continue;
        }
        // What it may have taken from the shared state goes with it.
        label[kind][i] = label_of(interval_ns);
        tat[kind][i] = tat[kind][own_states];
        if (kind == rate_of_tokens) {
            epoch[i]++;
        }
        state = i;
    }
    return state;
}

void subject::take(rate_kind kind, unsigned state, uint64_t interval_ns, uint64_t now_ns, uint64_t units)
{
    uint64_t& t = tat[kind][state];
    if (kind == rate_of_tokens && t <= now_ns) {
        epoch[state]++;
    }
    t = gcra_take(t, now_ns, interval_ns, units);
}

uint64_t subject::used_in(quota_window w, uint32_t at) const
{
    if (!(windows & bit_of(w)) || (at > hour && quota_period(w, at) != quota_period(w, hour))) {
        return 0;
    }
    return used[index_of(w)];
}

void subject::count(uint8_t in_windows, uint32_t at, uint64_t tokens)
{
    if (at > hour) {
        for (size_t i = 0; i < quota_windows; i++) {
            auto w = static_cast<quota_window>(i + 1);
            if ((windows & bit_of(w)) && quota_period(w, at) != quota_period(w, hour)) {
                windows &= static_cast<uint8_t>(~bit_of(w));
            }
        }
        hour = at;
    }
    for (size_t i = 0; in_windows >> i != 0; i++) {
        uint8_t bit = static_cast<uint8_t>(1u << i);
        if (in_windows & bit) {
            used[i] = add_up(windows & bit ? used[i] : 0, tokens);
            windows |= bit;
        }
    }
}

bool subject::at_rest(const moment& now) const
{
    if (in_flight != 0) {
        return false;
    }
    for (const auto& states : tat) {
        for (uint64_t t : states) {
            if (t > now.ns) {
                return false;
            }
        }
    }
    uint32_t at = hour_of(now.unix_ms);
    for (size_t i = 0; windows >> i != 0; i++) {
        auto w = static_cast<quota_window>(i + 1);
        if (used_in(w, at) != 0) {
            return false;
        }
    }
    return true;
}

} // namespace llm
