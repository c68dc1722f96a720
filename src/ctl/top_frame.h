// What llmctl top shows, as lines.
#pragma once

#include <cstddef>
#include <jansson.h>
#include <string>
#include <vector>

namespace llm::ctl {

// `requests` and `keys` are what llm_admin answers. At most `rows` lines of at most `columns` columns.
std::vector<std::string> top_frame(const json_t* requests, const json_t* keys, size_t columns, size_t rows);

} // namespace llm::ctl
