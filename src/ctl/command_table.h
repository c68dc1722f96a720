// Every command of llmctl.
#pragma once

#include "command_line.h"

#include <span>

namespace llm::ctl {

std::span<const command> commands();

} // namespace llm::ctl
