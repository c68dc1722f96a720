// The order of JSON numbers, by what they say and not by how they are written.
#pragma once

#include <string_view>

namespace llm {

// Below 0, 0 or above 0: as `a` is less than, equal to or greater than `b`. Both are numbers as JSON has
// them, or -Infinity or Infinity. Exact, whatever their digits; exponents beyond 9 digits count as such.
int compare_numbers(std::string_view a, std::string_view b);

} // namespace llm
