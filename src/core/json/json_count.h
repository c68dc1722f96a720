#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// Reads a JSON number's text as a count. False where it is not a whole number from 0 up (so `-1`, `5.5`,
// `NaN`); what is above `limit` becomes `limit`. `5.0` and `1e2` are whole.
bool json_count(std::string_view number, uint64_t limit, uint64_t& count);

// The same, but of a fraction what is whole: 2 of `2.9`.
bool json_count_part(std::string_view number, uint64_t limit, uint64_t& count);

} // namespace llm
