#include "extension.h"

#include "decision.h"

#include <algorithm>

namespace llm {

static_assert(undo_journal::max_blocks >= 1 + max_scopes);
static_assert(undo_journal::max_bytes >= sizeof(lease::holds));

extension_result extension::extend(lease& l, const admission_request& request, const shared_key* key,
                                   uint64_t more)
{
    if (key && key->policy->limited) {
        own_limits own(key->policy->limit, request.rules);
        return extend(l, request, &own, more);
    }
    return extend(l, request, static_cast<own_limits*>(nullptr), more);
}

extension_result extension::extend(lease& l, const admission_request& request, own_limits* own, uint64_t more)
{
    decision d(request, more, true, own);
    for (size_t place = 0; place < max_scopes; place++) {
        if (l.holds[place].who != no_index) {
            d.add(subjects_, static_cast<subject_kind>(place + static_cast<size_t>(subject_kind::key)), {},
                  l.holds[place].who);
        }
    }
    d.judge();

    journal_.keep(l.holds, sizeof l.holds);
    for (lease_hold& hold : l.holds) {
        if (hold.who == no_index) {
            continue;
        }
        subject& s = subjects_.at(hold.who);
        subjects_.touch(s);
        if (hold.rates[0].interval_ns != 0) {
            journal_.keep(&s.rates, sizeof s.rates);
        }
        if (hold.windows) {
            hold.reserved = add_up(hold.reserved, d.tokens);
            s.reserved = add_up(s.reserved, d.tokens);
        }
        for (lease_hold::rate_hold& held : hold.rates) {
            if (held.interval_ns == 0) {
                continue;
            }
            unsigned state = s.rates.claim_state(rate_of_tokens, label_of(held.interval_ns), request.now_ns);
            s.rates.take(rate_of_tokens, state, held.interval_ns, request.now_ns, d.tokens);
            held.tokens = static_cast<uint32_t>(std::min<uint64_t>(held.tokens + d.tokens, UINT32_MAX));
            held.epoch = s.rates.epoch[state];
            held.state = static_cast<uint8_t>(state);
        }
    }
    journal_.commit();
    return {d.refused_by.kind != limit_kind::none, d.cut, d.refused_by, d.dry_run_refusals};
}

} // namespace llm
