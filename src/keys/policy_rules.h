// The parts of a policy in a key file: limits, models, networks, what requests may say. Internal to src/keys.
#pragma once

#include "core/shared/key_record.h"
#include "field_check.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

// Each read_*() takes a value or null (not given, nothing to do) and sets `to`; false on an error, which
// `check` tells. `up` or `at` is the way to the object that holds the field, or to the field itself.
class policy_rules {
public:
    enum limit_field : size_t { requests, burst, concurrency, tokens, token_burst, quota, limit_fields };
    static const std::string_view limit_names[limit_fields];

    explicit policy_rules(field_check& check) : check(check) {}

    bool read_limits(const trail* up, std::span<json_t* const, limit_fields> values, limits& to);
    bool read_quota(const trail* at, const json_t* value, limits& to);
    bool read_models(const trail* up, const json_t* value, std::vector<std::string>& to);
    bool read_networks(const trail* up, const json_t* value, std::vector<network>& to);
    bool read_request(const trail* up, json_t* value);

    // One sentence about what was read so far and is not enforced by this version; empty if there was
    // nothing.
    std::string not_in_force() const;

private:
    bool read_rate(const trail* at, const json_t* value, bool of_requests, rate& to);
    bool read_count(const trail* at, const json_t* value, int64_t min, int64_t& to);

    field_check& check;
    bool request_used = false;
};

} // namespace llm
