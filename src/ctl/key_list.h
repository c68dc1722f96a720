// llmctl key list, key show
#pragma once

#include "command_line.h"

namespace llm::ctl {

int run_key_list(const arguments& given, output& out);
int run_key_show(const arguments& given, output& out);

} // namespace llm::ctl
