// What the rules in force say of one request, or of a stream that grows: looked at all together, before
// anything is taken.
//
// Needs the zone's lock.
#pragma once

#include "admission_request.h"
#include "subject_table.h"

#include "core/limit/quota.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

struct decision {
    // `key_limits` are the key's own limits, or nullptr.
    decision(const admission_request& its_request, uint64_t units, bool is_extension, own_limits* key_limits)
        : request(its_request), tokens(std::min<uint64_t>(units, UINT32_MAX)), extending(is_extension),
          own(key_limits)
    {
    }

    const admission_request& request;
    uint64_t tokens; // to be taken
    bool extending;
    own_limits* own;

    lease* l = nullptr;
    bool as_it_stands = false; // what is reported is the state without this request
    bool cut = false;
    uint64_t hard_left = UINT64_MAX;
    limit_refusal refused_by = {};
    uint64_t dry_run_refusals = 0;
    limit_report report = {}; // without the moments of rates, see whole_report()
    uint64_t requests_reset_ns = 0;
    uint64_t tokens_reset_ns = 0;
    bool tokens_by_quota = false;

    // Whom the request is for, at the places that are set; nothing is set at others.
    struct party {
        const subject* who; // nobody, if it has no record
        uint32_t number;    // no_index, if it has no record
        uint32_t name_size;
        const char* name;

        std::string_view its_name() const { return {name, name_size}; }
    };
    uint8_t places = 0;
    uint8_t missing = 0; // places whose records are to be made
    uint8_t rated = 0;   // places that rates are in force for
    bool shares = false; // names of it are counted with others of its key
    uint32_t hour = hour_of(request.now_ms);
    party parties[max_scopes];

    void add(const subject_table& subjects, subject_kind scope, std::string_view name, uint32_t number)
    {
        const size_t place = place_of(scope);
        const auto bit = static_cast<uint8_t>(1u << place);
        places |= bit;
        const subject* who = &nobody;
        if (number != no_index) {
            who = &subjects.at(number);
        } else {
            missing |= bit;
        }
        parties[place] = {who, number, static_cast<uint32_t>(name.size()), name.data()};
    }

    // Whether the request is for somebody there.
    bool has(size_t place) const { return (places >> place & 1) != 0; }

    // Looks at every rule in force.
    void judge();
    // The same, as if nothing had been looked at yet.
    void judge_again();
    // Milliseconds are reckoned of the two that it has come to only.
    const limit_report& whole_report();

private:
    // Who has no record yet has used nothing.
    static const subject nobody;

    uint64_t ms_to_end(quota_window window, uint32_t at) const;
    void refuse(const limit_rule& rule, limit_kind kind, uint64_t limit, uint64_t wait_ms,
                uint64_t period_ms = 0);
    void refuse_rate(const limit_rule& rule, limit_kind kind, const rate& what, uint64_t wait_ns);
    void report_requests(const gcra& shape, uint64_t after_ns);
    void report_tokens(const gcra& shape, uint64_t after_ns);
    void report_quota(const limits& what, uint64_t taken, uint32_t at);
};

} // namespace llm
