// Text as the inside of a JSON string.
#pragma once

#include <cstddef>
#include <string_view>

namespace llm {

// Writes `text` as the inside of a JSON string, at most six times its length, and returns the length. What is
// not UTF-8 becomes "?".
size_t write_json_text(std::string_view text, char* out);

} // namespace llm
