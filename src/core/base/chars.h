// Kinds of single bytes. A text's locale has no say in them.
#pragma once

#include "bytes.h"

#include <cstdint>
#include <string_view>

namespace llm {

// JSON's white space.
constexpr bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// What may be around a header's value and between its words.
constexpr bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

constexpr bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Of ASCII only: what follows may be the middle of a character in UTF-8.
constexpr bool is_control(char c)
{
    return static_cast<uint8_t>(c) < 0x20 || c == 0x7f;
}

// The same in a text in UTF-8, which has more of them: U+0080 to U+009F.
constexpr bool has_control(std::string_view text)
{
    char before = '\0';
    for (const char c : text) {
        if (is_control(c)
            || (before == '\xc2' && static_cast<uint8_t>(c) >= 0x80 && static_cast<uint8_t>(c) < 0xa0)) {
            return true;
        }
        before = c;
    }
    return false;
}

constexpr bool is_visible(char c)
{
    return c > 0x20 && c < 0x7f;
}

// -1 for what is no hex digit, of either case.
constexpr int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    const char lower = ascii_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

constexpr bool is_hex(char c)
{
    return hex_value(c) >= 0;
}

// By value.
inline constexpr std::string_view hex_digits = "0123456789abcdef";

// Writes the two digits of a byte and returns the end.
constexpr char* put_hex(char* out, uint8_t byte)
{
    *out++ = hex_digits[byte >> 4];
    *out++ = hex_digits[byte & 15];
    return out;
}

} // namespace llm
