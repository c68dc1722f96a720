// Points in time as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace llm {

// Seconds since 1970 of an RFC 3339 time: "2027-01-01T00:00:00Z", "2027-01-01T01:00:00.5+01:00". A fraction
// is cut off; a leap second counts as the second after it.
std::optional<int64_t> parse_time(std::string_view text);

} // namespace llm
