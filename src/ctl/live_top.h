// llmctl top
#pragma once

#include "live_act.h"

namespace llm::ctl {

inline constexpr option top_options[] = {
    url_option, key_file_option, {"--once", "", "prints it once, for programs"}};

int run_top(const arguments& given, output& out);

} // namespace llm::ctl
