#include "policy_rules.h"

#include "network_text.h"
#include "rate_text.h"

namespace llm {

namespace {

constexpr size_t max_list = 256;  // models or networks of one key or plan
constexpr size_t max_model = 256; // bytes

} // namespace

const std::string_view policy_rules::limit_names[limit_fields] = {"requests", "burst",       "concurrency",
                                                                  "tokens",   "token_burst", "quota"};

bool policy_rules::read_limits(const trail* up, std::span<json_t* const, limit_fields> values, limits& to)
{
    trail names[limit_fields];
    for (size_t i = 0; i < limit_fields; i++) {
        names[i] = {up, limit_names[i]};
    }
    return read_rate(&names[requests], values[requests], true, to.requests)
           && read_count(&names[burst], values[burst], 0, to.burst)
           && read_count(&names[concurrency], values[concurrency], 1, to.concurrency)
           && read_rate(&names[tokens], values[tokens], false, to.tokens)
           && read_count(&names[token_burst], values[token_burst], 1, to.token_burst)
           && read_quota(&names[quota], values[quota], to);
}

bool policy_rules::read_rate(const trail* at, const json_t* value, bool of_requests, rate& to)
{
    if (!value) {
        return true;
    }
    const std::optional<rate> parsed =
        parse_rate(string_of(value), of_requests ? rate_unit::requests : rate_unit::tokens);
    if (!parsed) {
        return check.fail_expected(at, of_requests ? "a rate such as \"10r/s\"" : "a rate such as \"100k/m\"",
                                   value);
    }
    to = *parsed;
    return true;
}

bool policy_rules::read_count(const trail* at, const json_t* value, int64_t min, int64_t& to)
{
    if (!value) {
        return true;
    }
    int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (json_is_string(value)) {
        if (const std::optional<uint64_t> count = parse_count(string_of(value))) {
            number = static_cast<int64_t>(*count);
        }
    }
    if (number < min) {
        return check.fail_expected(at, "a whole number of at least " + std::to_string(min), value);
    }
    to = number;
    return true;
}

bool policy_rules::read_quota(const trail* at, const json_t* value, limits& to)
{
    if (!value) {
        return true;
    }
    if (json_is_integer(value) && json_integer_value(value) >= 1) {
        to.quota = static_cast<uint64_t>(json_integer_value(value));
        to.window = quota_window::total;
        return true;
    }
    const std::optional<quota_text> parsed = parse_quota(string_of(value));
    if (!parsed) {
        return check.fail_expected(at, "a number of tokens of at least 1, or a quota such as \"10m/mo\"",
                                   value);
    }
    to.quota = parsed->amount;
    to.window = parsed->window;
    return true;
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
