#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>

namespace llm {

inline constexpr size_t max_number = 20;

// Writes the number in decimal, at most max_number characters, and returns the end.
inline char* put_number(char* out, uint64_t number)
{
    return std::to_chars(out, out + max_number, number).ptr;
}

} // namespace llm
