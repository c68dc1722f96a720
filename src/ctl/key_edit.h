// llmctl key set, enable, disable, remove
#pragma once

#include "command_line.h"
#include "key_place.h"

namespace llm::ctl {

inline constexpr option file_options[] = {file_option};

int run_key_set(const arguments& given, output& out);
int run_key_enable(const arguments& given, output& out);
int run_key_disable(const arguments& given, output& out);
int run_key_remove(const arguments& given, output& out);

} // namespace llm::ctl
