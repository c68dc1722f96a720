#include "policy_rules.h"

#include "network_text.h"

namespace llm {

namespace {

constexpr size_t max_list = 256;  // models or networks of one key or plan
constexpr size_t max_model = 256; // bytes

} // namespace

bool policy_rules::read_limits(const trail* up, std::span<json_t* const, own_limit_fields> values, limits& to)
{
    for (size_t i = 0; i < own_limit_fields; i++) {
        const trail at{up, limit_fields[i].name};
        if (!read_limit(&at, limit_fields[i], values[i], to)) {
            return false;
        }
    }
    return true;
}

bool policy_rules::read_limit(const trail* at, const limit_field& field, const json_t* value, limits& to)
{
    if (!value) {
        return true;
    }
    if (json_is_integer(value) ? field.read(int64_t{json_integer_value(value)}, to)
                               : field.read(string_of(value), to)) {
        return true;
    }
    switch (field.is) {
    case limit_field::kind::requests_rate:
        return check.fail_expected(at, "a rate such as \"10r/s\"", value);
    case limit_field::kind::tokens_rate:
        return check.fail_expected(at, "a rate such as \"100k/m\"", value);
    case limit_field::kind::count:
        return check.fail_expected(at, "a whole number of at least " + std::to_string(field.least), value);
    case limit_field::kind::quota:
        break;
    }
    return check.fail_expected(at, "a number of tokens of at least 1, or a quota such as \"10m/mo\"", value);
}

// An empty list would read as "none" but allow everything, so it is refused; the same for networks.
bool policy_rules::read_models(const trail* up, const json_t* value, std::vector<std::string>& to)
{
    if (!value) {
        return true;
    }
    const trail at{up, "models"};
    const size_t size = json_array_size(value);
    if (size == 0 || size > max_list) {
        return check.fail_expected(&at, "an array of 1 to 256 names of models", value);
    }
    for (size_t i = 0; i < size; i++) {
        const trail element{&at, {}, i, true};
        const std::string_view model = string_of(json_array_get(value, i));
        if (!is_plain(model, max_model)) {
            return check.fail_expected(&element, "1 to 256 bytes without control characters",
                                       json_array_get(value, i));
        }
        to.emplace_back(model);
    }
    return true;
}

bool policy_rules::read_networks(const trail* up, const json_t* value, std::vector<network>& to)
{
    if (!value) {
        return true;
    }
    const trail at{up, "networks"};
    const size_t size = json_array_size(value);
    if (size == 0 || size > max_list) {
        return check.fail_expected(&at, "an array of 1 to 256 addresses or ranges", value);
    }
    for (size_t i = 0; i < size; i++) {
        const trail element{&at, {}, i, true};
        std::optional<network> range = parse_network(string_of(json_array_get(value, i)));
        if (!range) {
            return check.fail_expected(&element, "an address or a range such as \"10.0.0.0/8\"",
                                       json_array_get(value, i));
        }
        if (clear_host_bits(*range)) {
            return check.fail(&element, check.shown(string_of(json_array_get(value, i)))
                                            + " has bits beyond its prefix, expected "
                                            + quoted(to_text(*range)));
        }
        to.push_back(*range);
    }
    return true;
}

bool policy_rules::read_request(const trail* up, json_t* value)
{
    if (!value) {
        return true;
    }
    enum : size_t { allow, drop, cap, set_default, set, count };
    static constexpr std::string_view fields[count] = {"allow", "drop", "cap", "default", "set"};
    const trail at{up, "request"};
    json_t* values[count];
    if (!check.fields(&at, value, fields, values)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const trail part{&at, fields[i]};
        if (!values[i]) {
            continue;
        }
        request_used = true;
        const bool is_list = i == allow || i == drop;
        if (is_list ? !json_is_array(values[i]) : !json_is_object(values[i])) {
            return check.fail_expected(&part, is_list ? "an array of names of fields" : "an object",
                                       values[i]);
        }
        for (size_t j = 0; is_list && j < json_array_size(values[i]); j++) {
            const trail element{&part, {}, j, true};
            if (string_of(json_array_get(values[i], j)).empty()) {
                return check.fail_expected(&element, "the name of a field", json_array_get(values[i], j));
            }
        }
        for (void* j = i == cap ? json_object_iter(values[i]) : nullptr; j;
             j = json_object_iter_next(values[i], j)) {
            const trail member{&part, json_object_iter_key(j)};
            if (!json_is_number(json_object_iter_value(j))) {
                return check.fail_expected(&member, "a number", json_object_iter_value(j));
            }
        }
    }
    return true;
}

std::string policy_rules::not_in_force() const
{
    return request_used ? "request policies are checked but not yet enforced" : "";
}

} // namespace llm
