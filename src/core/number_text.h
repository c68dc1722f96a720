#pragma once

#include <charconv>
#include <cstdint>

namespace llm {

// Writes the number in decimal, at most 20 characters, and returns the end.
inline char* put_number(char* out, uint64_t number)
{
    return std::to_chars(out, out + 20, number).ptr;
}

} // namespace llm
