// The rules for requests of a key or a plan, as llmctl shows them.
#pragma once

#include "json_text_writer.h"

#include <string>
#include <string_view>
#include <vector>

namespace llm::ctl {

// Whose rules: those of the key itself, or of its plan.
enum class rule_owner : bool { key, plan };

// `rules` are key_policy's. One line for each, as llm_request has them: "cap max_tokens 512".
std::vector<std::string> rule_lines(std::string_view rules, rule_owner owner);

// Writes them as a field, in the shape of `request` in a key file; nothing if there are none.
void write_rules(std::string_view field, std::string_view rules, rule_owner owner, json_text_writer& json);

} // namespace llm::ctl
