#include "policy_rules.h"

#include "network_text.h"

#include <cstdlib>
#include <iterator>

namespace llm {

namespace {

constexpr size_t max_list = 256;  // models or networks of one key or plan
constexpr size_t max_model = 256; // bytes

// As JSON, with the fewest digits that stand for the same number.
std::string text_of(const json_t* value)
{
    const auto dump = [value](size_t digits) {
        char* text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(digits));
        std::string copy(text ? text : "");
        free(text);
        return copy;
    };
    std::string text = dump(15);
    const json_ptr again(json_loads(text.c_str(), JSON_DECODE_ANY, nullptr));
    return json_equal(again.get(), value) ? text : dump(17);
}

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

bool policy_rules::read_rule(const trail* at, policy_action action, std::string_view field,
                             const json_t* value, uint8_t list, request_rules& to)
{
    if (const std::string wrong = request_rules::field_fault(action, field); !wrong.empty()) {
        return check.fail(at, wrong);
    }
    const std::string text = value ? text_of(value) : std::string();
    if (value) {
        if (action == policy_action::cap && !json_is_number(value)) {
            return check.fail_expected(at, "a number", value);
        }
        if (const std::string wrong = request_rules::value_fault(action, field, text); !wrong.empty()) {
            return check.fail(at, wrong);
        }
    }
    const std::string wrong = to.add(action, field, text, list);
    return wrong.empty() || check.fail(at, wrong);
}

bool policy_rules::read_request(const trail* up, json_t* value, uint8_t list, std::string& to)
{
    if (!value) {
        return true;
    }
    constexpr size_t count = std::size(policy_actions);
    const trail at{up, "request"};
    json_t* values[count];
    if (!check.fields(&at, value, policy_actions, values)) {
        return false;
    }
    request_rules rules;
    for (size_t i = 0; i < count; i++) {
        const auto action = static_cast<policy_action>(i);
        const trail part{&at, policy_actions[i]};
        if (!values[i]) {
            continue;
        }
        const bool is_list = action == policy_action::allow || action == policy_action::drop;
        if (is_list ? !json_is_array(values[i]) : !json_is_object(values[i])) {
            return check.fail_expected(&part, is_list ? "an array of names of fields" : "an object",
                                       values[i]);
        }
        // It would read as "nothing", but allow everything.
        if (action == policy_action::allow && json_array_size(values[i]) == 0) {
            return check.fail_expected(&part, "an array of 1 or more names of fields", values[i]);
        }
        for (size_t j = 0; is_list && j < json_array_size(values[i]); j++) {
            const trail element{&part, {}, j, true};
            const std::string_view field = string_of(json_array_get(values[i], j));
            if (field.empty()) {
                return check.fail_expected(&element, "the name of a field", json_array_get(values[i], j));
            }
            if (!read_rule(&element, action, field, nullptr, list, rules)) {
                return false;
            }
        }
        for (void* j = is_list ? nullptr : json_object_iter(values[i]); j;
             j = json_object_iter_next(values[i], j)) {
            const trail member{&part, json_object_iter_key(j)};
            if (!read_rule(&member, action, json_object_iter_key(j), json_object_iter_value(j), list,
                           rules)) {
                return false;
            }
        }
    }
    to = rules.text();
    return true;
}

} // namespace llm
