// llmctl usage
#pragma once

#include "command_line.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace llm::ctl {

inline constexpr option usage_options[] = {
    {"--from", "TIME", "from then on: 2026-11, 2026-11-30, 2026-11-30T12:00:00Z, 7d (ago)"},
    {"--to", "TIME", "until then; a day or a month with all of it"},
    {"--by", "COLUMNS", "one row for each: key,user,model,day; default key"},
    {"--csv", "", "as comma-separated values"},
    {"--state", "FILE", "the database; else $LLM_STATE, else the one in nginx's configuration"},
};

int run_usage(const arguments& given, output& out);

// Seconds since 1970 of a time as above; with `is_end`, of the end of a day or month.
std::optional<int64_t> usage_time(std::string_view text, bool is_end, int64_t now);

} // namespace llm::ctl
