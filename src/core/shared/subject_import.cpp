#include "subject_import.h"

#include <algorithm>

namespace llm {

namespace {

bool can_be(const subject_state& s)
{
    return s.kind > subject_kind::none && s.kind <= last_kind && s.name_len <= max_name
           && s.owner_len <= max_name;
}

void add_totals(usage_totals& to, const usage_totals& more)
{
    to.requests += more.requests;
    to.prompt += more.prompt;
    to.cached += more.cached;
    to.completion += more.completion;
    to.reasoning += more.reasoning;
    to.cache_write += more.cache_write;
}

} // namespace

static_assert(undo_journal::max_bytes >= sizeof(subject_rates) + sizeof(subject_counts));

bool subject_import::add(const subject_state& from, const moment& now, uint64_t& imported)
{
    const uint32_t index =
        can_be(from) ? subjects_.find_or_make_again(from.kind, from.name(), from.owner(), now) : no_index;
    if (index == no_index) {
        imported++;
        return false;
    }
    subject& s = subjects_.at(index);
    journal_.keep(&imported, sizeof imported);
    journal_.keep(&s.rates, sizeof s.rates + sizeof s.counts);
    journal_.keep(&s.ring, sizeof s.ring);
    subjects_.touch(s);
    imported++;
    add_totals(s.counts.totals, from.totals);
    const uint32_t hour = hour_of(now.unix_ms);
    for (size_t i = 0; i < quota_windows; i++) {
        if (from.quotas[i].used != 0) {
            s.counts.count_again(static_cast<quota_window>(i + 1), from.quotas[i].hour, hour,
                                 from.quotas[i].used);
        }
    }
    // By the wall clock: the other one may have begun anew.
    const uint64_t passed =
        now.unix_ms > from.unix_ms
            ? multiply_up(static_cast<uint64_t>(now.unix_ms) - static_cast<uint64_t>(from.unix_ms), 1000000)
            : 0;
    for (rate_kind kind : {rate_of_requests, rate_of_tokens}) {
        for (const subject_state::debt& debt : from.debts[kind]) {
            if (debt.ns > passed) {
                s.rates.owe(kind, debt.label, now.ns, debt.ns - passed);
            }
        }
    }
    // Since when is not kept: at the latest, since it was kept.
    if (from.blocked && from.kind == subject_kind::key && s.blocked_since() == 0) {
        subjects_.block(index,
                        static_cast<uint32_t>(std::clamp<int64_t>(from.unix_ms / 1000, 1, UINT32_MAX)));
    }
    if (from.proved) {
        subjects_.prove(index);
    }
    journal_.commit();

    // Figures are no accounts.
    if (from.kind == subject_kind::model) {
        learned_.restore(from.name(), from.learned);
        if (from.owner_len != 0) {
            learned_.restore(from.owner(), from.name(), from.learned_by_owner);
        }
    }
    return true;
}

} // namespace llm
