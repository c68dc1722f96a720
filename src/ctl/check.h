// llmctl check
#pragma once

#include "command_line.h"

namespace llm::ctl {

int run_check(const arguments& given, output& out);

} // namespace llm::ctl
