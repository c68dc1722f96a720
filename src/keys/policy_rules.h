// The parts of a policy in a key file: limits, models, networks, what requests may say. Internal to src/keys.
#pragma once

#include "core/shared/key_record.h"
#include "field_check.h"
#include "limit_fields.h"
#include "request_rules.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

// Each read_*() takes a value or null (not given, nothing to do) and sets `to`; false on an error, which
// `check` tells. `up` or `at` is the way to the object that holds the field, or to the field itself.
class policy_rules {
public:
    explicit policy_rules(field_check& check) : check(check) {}

    bool read_limits(const trail* up, std::span<json_t* const, own_limit_fields> values, limits& to);
    bool read_limit(const trail* at, const limit_field& field, const json_t* value, limits& to);
    bool read_models(const trail* up, const json_t* value, std::vector<std::string>& to);
    bool read_networks(const trail* up, const json_t* value, std::vector<network>& to);
    // The rules as request_policy takes them; `list` is that of the fields that are allowed.
    bool read_request(const trail* up, json_t* value, uint8_t list, std::string& to);

private:
    bool read_rule(const trail* at, policy_action action, std::string_view field, const json_t* value,
                   uint8_t list, request_rules& to);

    field_check& check;
};

} // namespace llm
