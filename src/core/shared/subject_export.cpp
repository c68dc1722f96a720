#include "subject_export.h"

namespace llm {

// Finds those that the next slice is of, without the lock.
bool subject_export::find_slice()
{
    found_ = 0;
    for (; found_ < max_slice && (next_ = subjects_.changed_from(next_, since_)) != no_index; next_++) {
        numbers_[found_++] = next_;
        subjects_.prefetch(next_);
    }
    return found_ != 0;
}

// What is not needed under the lock is left to put_state().
size_t subject_export::copy_slice()
{
    size_t n = 0;
    for (size_t i = 0; i < found_; i++) {
        const subject& s = subjects_.at(numbers_[i]);
        const subject_kind kind = s.kind.load(std::memory_order_relaxed);
        if (kind == subject_kind::none) {
            continue;
        }
        copy& c = copies_[n++];
        c.kind = kind;
        c.proved = s.proved;
        c.blocked = kind == subject_kind::key && s.blocked_since() != 0;
        c.name_len = static_cast<uint8_t>(s.name().copy(c.name, max_name));
        c.owner_len = 0;
        if (chosen_with_key(kind) && s.owner != no_index) {
            c.owner_len = static_cast<uint8_t>(subjects_.at(s.owner).name().copy(c.owner, max_name));
        }
        c.rates = s.rates;
        c.counts = s.counts;
    }
    return n;
}

void subject_export::put_state(const copy& from, const moment& now, subject_state& to) const
{
    const uint32_t hour = hour_of(now.unix_ms);
    to = {};
    to.kind = from.kind;
    to.proved = from.proved;
    to.blocked = from.blocked;
    to.name_len = from.name_len;
    memcpy(to.name_bytes, from.name, from.name_len);
    to.owner_len = from.owner_len;
    memcpy(to.owner_bytes, from.owner, from.owner_len);
    to.unix_ms = now.unix_ms;
    to.totals = from.counts.totals;
    for (size_t i = 0; i < quota_windows; i++) {
        const auto w = static_cast<quota_window>(i + 1);
        to.quotas[i] = {from.counts.used_in(w, hour), from.counts.hour_of_use(w, hour)};
    }
    for (rate_kind kind : {rate_of_requests, rate_of_tokens}) {
        for (unsigned i = 0; i <= subject_rates::own_states; i++) {
            const uint64_t tat = from.rates.tat[kind][i];
            to.debts[kind][i] = {tat > now.ns ? tat - now.ns : 0, i < subject_rates::own_states
                                                                      ? from.rates.label[kind][i]
                                                                      : interval_label::none};
        }
    }
    if (from.kind == subject_kind::model) {
        to.learned = learned_.figures(to.name());
        if (from.owner_len != 0) {
            to.learned_by_owner = learned_.figures(to.owner(), to.name());
        }
    }
}

} // namespace llm
