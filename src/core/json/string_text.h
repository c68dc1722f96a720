// The inside of a JSON string of which nothing is kept.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// From a byte within a string that is not part of an escape: over text and whole escapes, to the quote that
// ends it, to a byte that no string has, or to a backslash whose escape is wrong or goes on behind `end`; or
// `end`. Adds to `surplus` the bytes that the escapes passed take more than what they stand for.
const char* past_string_text(const char* p, const char* end, uint64_t& surplus);

// One way of doing it; the result is the same in all.
struct string_text_way {
    std::string_view name;
    const char* (*past)(const char* p, const char* end, uint64_t& surplus);
};

// Those of this processor, the fastest first.
std::span<const string_text_way> string_text_ways();

} // namespace llm
