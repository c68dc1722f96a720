// Text in a terminal: what it takes of a line, and what it must not do there.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llm::ctl {

// `text` with each control character (also U+0080..U+009F, and those that turn the direction of writing) and
// each byte that is no UTF-8 as "?".
std::string printable(std::string_view text);

// Columns that printable text takes in a terminal: 2 for wide characters such as those of Chinese, 0 for
// those that combine.
size_t display_width(std::string_view text);

// The beginning of printable `text` that takes at most `width` columns, with "…" at its end if something is
// cut.
std::string display_cut(std::string_view text, size_t width);

} // namespace llm::ctl
