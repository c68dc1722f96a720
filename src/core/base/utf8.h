// UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// The length (1..4) of the character that `text` begins with; 0 if it is none.
inline size_t utf8_length(std::string_view text)
{
    auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
    auto follows = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) {
        return byte(i) >= low && byte(i) <= high;
    };

    uint8_t lead = byte(0);
    if (text.empty()) {
        return 0;
    }
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return follows(1) ? 2 : 0;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        uint8_t low = lead == 0xe0 ? 0xa0 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : 0xbf;
        return follows(1, low, high) && follows(2) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        uint8_t low = lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xf4 ? 0x8f : 0xbf;
        return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
    }
    return 0;
}

// The beginning of `text`, at most `max` bytes, that does not end within a character.
inline std::string_view utf8_cut(std::string_view text, size_t max)
{
    if (text.size() <= max) {
        return text;
    }
    size_t end = max;
    while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) {
        end--;
    }
    return text.substr(0, end);
}

// Writes a character of at most four bytes and returns how many they are.
inline size_t put_utf8(char* out, uint32_t code)
{
    size_t n = 0;
    const auto put = [&](uint32_t byte) { out[n++] = static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
        return n;
    }
    if (code < 0x800) {
        put(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            put(0xe0 | code >> 12);
        } else {
            put(0xf0 | code >> 18);
            put(0x80 | (code >> 12 & 0x3f));
        }
        put(0x80 | (code >> 6 & 0x3f));
    }
    put(0x80 | (code & 0x3f));
    return n;
}

// Bytes of UTF-8 that the code of a \uXXXX makes; each half of a surrogate pair half of its four.
constexpr size_t utf8_size_of_escape(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 2 : 3;
}

} // namespace llm
