// Whether a text is JSON.
#pragma once

#include "key_file.h"

#include <optional>
#include <string_view>

namespace llm {

// What is wrong with `text` as one JSON value, with its place; nothing if it is one. Names that are given
// twice in an object are an error.
std::optional<file_error> check_json(std::string_view text);

} // namespace llm
