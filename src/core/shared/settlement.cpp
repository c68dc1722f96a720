#include "settlement.h"

#include <algorithm>

namespace llm {

// The lease, its subjects; the series, three histograms and that of the gateway, the source, the second.
static_assert(undo_journal::max_blocks >= 1 + max_scopes + 1 + 4 * 2 + 2);
static_assert(undo_journal::max_bytes >= sizeof(subject_rates) + sizeof(subject_counts));

namespace {

// Replaces what was taken from a rate by what was used.
void set_right(subject& s, const lease_hold::rate_hold& held, uint64_t used, uint64_t now_ns)
{
    unsigned state = s.rates.state_of(rate_of_tokens, label_of(held.interval_ns));
    uint64_t& tat = s.rates.tat[rate_of_tokens][state];
    bool same = state == held.state;
    if (used > held.tokens) {
        // Where its state is another limit's by now, the debt begins now.
        tat = gcra_owe(same || state != subject_rates::own_states ? tat : std::max(tat, now_ns),
                       held.interval_ns, used - held.tokens);
    } else if (same && s.rates.epoch[state] == held.epoch) {
        tat = gcra_give(tat, held.interval_ns, held.tokens - used);
    }
}

} // namespace

void settlement::settle(lease& l, const token_counts& used, const moment& now, const request_end& end,
                        const book_names& names)
{
    const uint64_t tokens = weighted(used, l.weights);
    const uint32_t hour = hour_of(now.unix_ms);
    const bool answered = l.answered.load(std::memory_order_relaxed);
    const book::place place = book_.find_place(names, answered, now, journal_);

    journal_.keep(&l.is, sizeof l.is);
    for (const lease_hold& hold : l.holds) {
        if (hold.who == no_index) {
            continue;
        }
        subject& s = subjects_.at(hold.who);
        subjects_.touch(s);
        // Those in use come first.
        if (hold.rates[0].interval_ns != 0) {
            journal_.keep(&s.rates.tat[rate_of_tokens], sizeof s.rates.tat[rate_of_tokens] + sizeof s.counts);
            for (const lease_hold::rate_hold& held : hold.rates) {
                if (held.interval_ns == 0) {
                    break;
                }
                set_right(s, held, tokens, now.ns);
            }
        } else {
            journal_.keep(&s.counts, sizeof s.counts);
        }
        s.in_flight--;
        s.reserved -= hold.reserved;
        s.counts.totals.requests++;
        s.counts.totals.prompt += used.prompt;
        s.counts.totals.cached += used.cached;
        s.counts.totals.completion += used.completion;
        s.counts.totals.reasoning += used.reasoning;
        s.counts.totals.cache_write += used.cache_write;
        if (hold.windows) {
            s.counts.count(hold.windows, hour, tokens);
        }
    }
    book_.count(place, end, used, tokens, now, journal_);
    if (answered) {
        for (subject_kind kind : {subject_kind::user, subject_kind::model, subject_kind::address}) {
            if (uint32_t name = l.holds[place_of(kind)].who; name != no_index) {
                subjects_.prove(name);
            }
        }
    }
    leases_.give(l);
    journal_.commit();
}

void settlement::count_holds(const lease& l)
{
    for (const lease_hold& hold : l.holds) {
        if (hold.who != no_index) {
            subject& s = subjects_.at(hold.who);
            s.in_flight++;
            s.reserved += hold.reserved;
        }
    }
}

} // namespace llm
