// llmctl new, llmctl hash: keys for files that other tools write.
#pragma once

#include "command_line.h"

namespace llm::ctl {

int run_new(const arguments& given, output& out);
int run_hash(const arguments& given, output& out);

} // namespace llm::ctl
