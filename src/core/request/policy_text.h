// Rules of a request policy as flat bytes: what a key table and the configuration keep of them. No pointers,
// so that they may be copied anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

enum class policy_action : uint8_t { allow, drop, cap, set_default, set };

struct policy_rule {
    policy_action action;
    uint8_t list;           // allow: fields of different lists are allowed only where all lists name them
    std::string_view field; // names joined by dots
    std::string_view value; // JSON; of cap, set_default and set
};

// The names in the order of the enum, as a configuration has them.
inline constexpr std::string_view policy_actions[] = {"allow", "drop", "cap", "default", "set"};

inline constexpr size_t max_policy_field = 128; // bytes, of all names together
inline constexpr size_t max_policy_depth = 4;   // names of one field
inline constexpr size_t max_policy_value = 2048;
inline constexpr size_t max_policy_rules = 32;   // of one level: a key, a plan, a location
inline constexpr size_t max_policy_bytes = 4096; // likewise

// Adds a rule to `to`.
inline void append_rule(std::string& to, const policy_rule& rule)
{
    const auto size = [&](size_t n) {
        to += static_cast<char>(n & 0xff);
        to += static_cast<char>(n >> 8);
    };
    to += static_cast<char>(rule.action);
    to += static_cast<char>(rule.list);
    size(rule.field.size());
    size(rule.value.size());
    to += rule.field;
    to += rule.value;
}

// Takes the first rule off `rules`. False where there is none, or not all of it.
inline bool take_rule(std::string_view& rules, policy_rule& rule)
{
    constexpr size_t head = 6;
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(rules[i]); };
    if (rules.size() < head || byte(0) > static_cast<uint8_t>(policy_action::set)) {
        return false;
    }
    const size_t field = byte(2) | size_t{byte(3)} << 8;
    const size_t value = byte(4) | size_t{byte(5)} << 8;
    if (rules.size() - head < field + value) {
        return false;
    }
    rule = {static_cast<policy_action>(byte(0)), byte(1), rules.substr(head, field),
            rules.substr(head + field, value)};
    rules.remove_prefix(head + field + value);
    return true;
}

} // namespace llm
