#include "rule_text.h"

#include "core/request/policy_text.h"
#include "core/shared/key_record.h"

#include <array>
#include <iterator>

namespace llm::ctl {

namespace {

using rules_by_action = std::array<std::vector<policy_rule>, std::size(policy_actions)>;

// Those of one owner. Their texts are in `rules`.
rules_by_action sorted(std::string_view rules, rule_owner owner)
{
    rules_by_action found;
    for (policy_rule rule; take_rule(rules, rule);) {
        if ((rule.list == list_of_plan) == (owner == rule_owner::plan)) {
            found[static_cast<size_t>(rule.action)].push_back(rule);
        }
    }
    return found;
}

bool takes_values(size_t action)
{
    return action != static_cast<size_t>(policy_action::allow)
           && action != static_cast<size_t>(policy_action::drop);
}

} // namespace

std::vector<std::string> rule_lines(std::string_view rules, rule_owner owner)
{
    std::vector<std::string> lines;
    const rules_by_action found = sorted(rules, owner);
    for (size_t action = 0; action < found.size(); action++) {
        for (size_t i = 0; i < found[action].size(); i++) {
            const policy_rule& rule = found[action][i];
            if (i == 0 || takes_values(action)) {
                lines.emplace_back(policy_actions[action]);
            }
            lines.back() += ' ' + std::string(rule.field);
            if (takes_values(action)) {
                lines.back() += ' ' + std::string(rule.value);
            }
        }
    }
    return lines;
}

void write_rules(std::string_view field, std::string_view rules, rule_owner owner, json_text_writer& json)
{
    const rules_by_action found = sorted(rules, owner);
    bool is_open = false;
    for (size_t action = 0; action < found.size(); action++) {
        if (found[action].empty()) {
            continue;
        }
        if (!is_open) {
            json.name(field);
            json.begin_object();
            is_open = true;
        }
        json.name(policy_actions[action]);
        takes_values(action) ? json.begin_object() : json.begin_array();
        for (const policy_rule& rule : found[action]) {
            if (takes_values(action)) {
                json.name(rule.field);
                json.raw(rule.value);
            } else {
                json.text(rule.field);
            }
        }
        takes_values(action) ? json.end_object() : json.end_array();
    }
    if (is_open) {
        json.end_object();
    }
}

} // namespace llm::ctl
