// The rules of one level of a request policy, checked: of llm_request, or of `request` in a key file.
#pragma once

#include "core/request/policy_text.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

class request_rules {
public:
    // What is wrong with a field as one to have a rule of this kind; empty if nothing is.
    static std::string field_fault(policy_action action, std::string_view field);
    // The same of a value, which is JSON.
    static std::string value_fault(policy_action action, std::string_view field, std::string_view value);

    // Adds a rule that has no such fault. What is wrong with it beside those before it; empty if nothing is.
    // `list` as in policy_rule.
    std::string add(policy_action action, std::string_view field, std::string_view value = {},
                    uint8_t list = 0);

    // All of them, for request_policy.
    const std::string& text() const { return text_; }

private:
    struct entry {
        policy_action action;
        std::string field;
        std::string value;
    };

    static bool is_above_cap(const entry& given, const entry& cap);
    std::string contradiction(const entry& rule) const;

    std::vector<entry> entries_;
    std::string text_;
};

// A value as a configuration file has it: JSON, or a word that stands for a string. Nothing if it is neither.
std::optional<std::string> json_of_argument(std::string_view argument);

} // namespace llm
