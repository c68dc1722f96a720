#include "failed_auth.h"

#include "subject_names.h"

namespace llm {

admission_result look_at_failed_auth(const subject_table& subjects, const admission_request& request)
{
    admission_result result{verdict::unknown};
    const uint32_t number = subjects.find(subject_kind::failed_auth, address_name(request.address));

    for (const limit_rule& rule : request.rules) {
        const gcra shape = shape_of_failures(rule.what());
        if (!shape.limits()) {
            continue;
        }
        uint64_t tat =
            number == no_index ? 0 : subjects.at(number).rates.tat_of(rate_of_requests, shape.label);
        gcra::view seen = shape.look(tat, request.now_ns, 1);
        if (!seen.allowed && rule.dry_run()) {
            result.dry_run_refusals |= dry_run_bit(limit_kind::failures, subject_kind::address);
        } else if (!seen.allowed) {
            result.said = verdict::limited;
            uint64_t wait_ms = ms_of(seen.wait_ns);
            if (wait_ms >= result.refused_by.wait_ms) {
                result.refused_by = {limit_kind::failures,
                                     subject_kind::address,
                                     quota_window::none,
                                     rule.what().failures.amount,
                                     wait_ms,
                                     rule.what().failures.period_ms};
            }
        }
    }
    return result;
}

admission_result count_failed_auth(subject_table& subjects, undo_journal& journal,
                                   const admission_request& request)
{
    const admission_result result = look_at_failed_auth(subjects, request);
    if (result.said == verdict::limited) {
        return result;
    }

    std::string_view name = address_name(request.address);
    uint32_t number = subjects.find(subject_kind::failed_auth, name);
    uint8_t states_taken = 0;
    for (const limit_rule& rule : request.rules) {
        const gcra shape = shape_of_failures(rule.what());
        if (!shape.limits()) {
            continue;
        }
        if (number == no_index) {
            number = subjects.find_or_make(subject_kind::failed_auth, name, request.now());
        }
        if (number == no_index) {
            // It is refused in any case, only not counted.
            return result;
        }
        subject& s = subjects.at(number);
        subjects.touch(s);
        if (states_taken == 0) {
            journal.keep(&s.rates, sizeof s.rates);
        }
        unsigned state = s.rates.claim_state(rate_of_requests, shape.label, request.now_ns);
        if (!(states_taken >> state & 1)) {
            states_taken |= static_cast<uint8_t>(1u << state);
            if (!rule.dry_run() || shape.allows(s.rates.tat[rate_of_requests][state], request.now_ns, 1)) {
                s.rates.take(rate_of_requests, state, shape.interval_ns, request.now_ns, 1);
            }
        }
    }
    journal.commit();
    return result;
}

} // namespace llm
