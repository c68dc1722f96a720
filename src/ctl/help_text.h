// What --help shows, made of the table of commands.
#pragma once

#include "command_line.h"

#include <span>
#include <string>
#include <string_view>

namespace llm::ctl {

// All commands, or those whose name begins with the word `of`; empty if there are none.
std::string help_of_all(std::span<const command> commands, std::string_view of = {});

std::string help_of(const command& one);

} // namespace llm::ctl
