// llmctl import
#pragma once

#include "command_line.h"
#include "key_place.h"

namespace llm::ctl {

inline constexpr option import_options[] = {
    {"--format", "FORMAT", "fastapi (lists of plain keys) or litellm (its table of tokens, as CSV or JSON)"},
    {"--dry-run", "", "shows what would come, and changes nothing"},
    file_option,
};

int run_import(const arguments& given, output& out);

} // namespace llm::ctl
