#include "request_rules.h"

#include "core/base/chars.h"
#include "core/json/json_count.h"
#include "core/json/number_order.h"
#include "core/request/member_name.h"
#include "core/request/request_policy.h"
#include "field_check.h"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

constexpr size_t max_name = 64; // json_scanner takes no longer one

bool same_word(std::string_view text, std::string_view lowcase)
{
    return text.size() == lowcase.size()
           && std::equal(text.begin(), text.end(), lowcase.begin(),
                         [](char a, char b) { return ascii_lower(a) == b; });
}

bool is_name_byte(char c)
{
    // Who writes a comma means a list.
    return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '.' && c != ',';
}

json_ptr parsed(std::string_view text)
{
    // Behind a value the library takes it for the end of the text.
    if (text.find('\0') != std::string_view::npos) {
        return nullptr;
    }
    return json_ptr(json_loadb(text.data(), text.size(), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, nullptr));
}

constexpr const char* expected_tokens = "expected a whole number of tokens of at least 1";

bool is_token_count(std::string_view value)
{
    uint64_t count = 0;
    return json_count(value, UINT64_MAX / 2, count) && count != 0;
}

// Also where it is only to Gemini's servers.
bool is_within(std::string_view field, std::string_view outer)
{
    for (size_t dot = field.find('.'); dot != std::string_view::npos; dot = field.find('.', dot + 1)) {
        if (is_same_in_two_spellings(field.substr(0, dot), outer)) {
            return true;
        }
    }
    return false;
}

// Likewise. Bounds of other APIs have one spelling alone.
bool is_one_field(std::string_view a, std::string_view b)
{
    return a == b || (is_same_in_two_spellings(a, b) && is_bound(a) == is_bound(b));
}

std::string_view name_of(policy_action action)
{
    return policy_actions[static_cast<size_t>(action)];
}

} // namespace

std::string request_rules::field_fault(policy_action action, std::string_view field)
{
    size_t depth = 0;
    for (std::string_view rest = field;; depth++) {
        const size_t dot = rest.find('.');
        const std::string_view name = rest.substr(0, dot);
        if (name.empty() || name.size() > max_name || !std::all_of(name.begin(), name.end(), is_name_byte)) {
            return "expected the name of a field, or names joined by dots, each of 1 to 64 visible ASCII "
                   "characters but quotes, backslashes and commas";
        }
        if (dot == std::string_view::npos) {
            break;
        }
        rest.remove_prefix(dot + 1);
    }
    if (depth + 1 > max_policy_depth || field.size() > max_policy_field) {
        return "expected a field of at most 4 names and 128 bytes";
    }
    if (const std::string_view name = bound_in_its_case(field); !name.empty() && name != field) {
        return "servers call it \"" + std::string(name) + "\"";
    }
    if (is_within_bound(field)) {
        return "there is nothing within a number of tokens";
    }
    if (action == policy_action::allow) {
        return depth == 0 ? "" : "\"allow\" takes fields of the request itself, not of what is in them";
    }
    const std::string_view first = field.substr(0, field.find('.'));
    if (same_word(first, "model") || same_word(first, "stream")) {
        return "the gateway itself goes by this field: it can only be allowed, and always is";
    }
    if (same_word(first, "stream_options") && (action != policy_action::drop || depth != 0)) {
        return "\"llm_usage_inject\" decides what is in this field: it can only be allowed or dropped as a "
               "whole";
    }
    return "";
}

std::string request_rules::value_fault(policy_action action, std::string_view field, std::string_view value)
{
    if (value.size() > max_policy_value) {
        return "expected at most 2048 bytes of JSON";
    }
    const json_ptr json = parsed(value);
    if (!json) {
        return "expected a JSON value";
    }
    if (action == policy_action::cap) {
        if (!json_is_number(json.get()) || value.size() > max_name) {
            return "expected a number";
        }
    } else if (holds_bound(field)) {
        return "name the fields within it, such as \"" + std::string(field)
               + ".temperature\": a value for all of it could undo what caps the tokens in it";
    }
    // All of these bound a completion by themselves, and what is no such number is no bound to servers.
    return is_bound(field) && !is_token_count(value) ? expected_tokens : "";
}

// Whether a bound of tokens would be given that the cap on all of them would lower.
bool request_rules::is_above_cap(const entry& given, const entry& cap)
{
    return cap.action == policy_action::cap && cap.field == "max_tokens"
           && (given.action == policy_action::set || given.action == policy_action::set_default)
           && is_bound(given.field) && compare_numbers(given.value, cap.value) > 0;
}

std::string request_rules::contradiction(const entry& rule) const
{
    for (const entry& other : entries_) {
        if (rule.action == policy_action::allow || other.action == policy_action::allow) {
            continue;
        }
        const bool same = is_one_field(rule.field, other.field);
        const bool rule_within = is_within(rule.field, other.field);
        const bool other_within = is_within(other.field, rule.field);
        if (rule_within || other_within) {
            return "\"" + (rule_within ? other : rule).field + "\" and \""
                   + (rule_within ? rule : other).field
                   + "\" cannot both have rules, since one is within the other";
        }
        if (!same) {
            if (is_above_cap(rule, other) || is_above_cap(other, rule)) {
                return "the value is above \"cap max_tokens\", which is about this field too";
            }
            continue;
        }
        if (rule.action == other.action) {
            return "the field has such a rule already";
        }
        const entry* cap = rule.action == policy_action::cap    ? &rule
                           : other.action == policy_action::cap ? &other
                                                                : nullptr;
        const entry& given = cap == &rule ? other : rule;
        if (!cap || given.action != policy_action::set_default) {
            return "the field has \"" + std::string(name_of(other.action))
                   + "\" already: beside another rule only \"cap\" and \"default\" go together";
        }
        const json_ptr json = parsed(given.value);
        if (!json_is_number(json.get()) || compare_numbers(given.value, cap->value) > 0) {
            return "the default is not a number up to the cap";
        }
    }
    return "";
}

std::string request_rules::add(policy_action action, std::string_view field, std::string_view value,
                               uint8_t list)
{
    entry rule{action, std::string(field), std::string(value)};
    if (action == policy_action::allow
        && std::any_of(entries_.begin(), entries_.end(),
                       [&](const entry& other) { return other.action == action && other.field == field; })) {
        return "the field is allowed already";
    }
    if (std::string wrong = contradiction(rule); !wrong.empty()) {
        return wrong;
    }
    append_rule(text_, {action, list, field, value});
    entries_.push_back(std::move(rule));
    request_policy policy;
    if (entries_.size() > max_policy_rules || text_.size() > max_policy_bytes || !policy.add(text_)
        || policy.nodes() > request_policy::max_level_nodes) {
        return "too many rules: expected at most 32, with 4096 bytes and 70 names together";
    }
    return "";
}

std::optional<std::string> json_of_argument(std::string_view argument)
{
    if (parsed(argument)) {
        return std::string(argument);
    }
    const auto in_word = [](char c) {
        return is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '_' || c == '-'
               || c == '.' || c == '/' || c == ':';
    };
    const bool is_word = !argument.empty() && argument.size() <= 256 && ascii_lower(argument[0]) >= 'a'
                         && ascii_lower(argument[0]) <= 'z'
                         && std::all_of(argument.begin(), argument.end(), in_word);
    // Who writes these means no string.
    static constexpr std::string_view others[] = {"true", "false", "null", "none", "nan", "infinity",
                                                  "inf",  "on",    "off",  "yes",  "no"};
    if (!is_word || std::any_of(std::begin(others), std::end(others), [&](std::string_view other) {
            return same_word(argument, other);
        })) {
        return std::nullopt;
    }
    return '"' + std::string(argument) + '"';
}

} // namespace llm
