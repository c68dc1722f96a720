#include "display_text.h"

#include "core/base/utf8.h"

#include <cstdint>

namespace llm::ctl {

namespace {

struct character {
    uint32_t code;
    size_t length; // 0: no UTF-8
};

character first_of(std::string_view text)
{
    const size_t length = utf8_length(text);
    const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
    switch (length) {
    case 1:
        return {byte(0), 1};
    case 2:
        return {(byte(0) & 0x1f) << 6 | (byte(1) & 0x3f), 2};
    case 3:
        return {(byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
    case 4:
        return {(byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f),
                4};
    default:
        return {0, 0};
    }
}

struct code_range {
    uint32_t first, last;
};

template <size_t N>
bool is_in(const code_range (&ranges)[N], uint32_t code)
{
    for (const code_range& range : ranges) {
        if (code >= range.first && code <= range.last) {
            return true;
        }
    }
    return false;
}

// Controls, line and paragraph separators, marks of direction, the byte order mark.
constexpr code_range unsafe[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x200e, 0x200f}, {0x2028, 0x202e},
                                 {0x2066, 0x2069}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}};

// The blocks that combine, and those that are wide, as most terminals draw them.
constexpr code_range combining[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                                    {0x64b, 0x65f},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200d},
                                    {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}};
constexpr code_range wide[] = {{0x1100, 0x115f},  {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xa960, 0xa97c},
                               {0xac00, 0xd7a3},  {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
                               {0xffe0, 0xffe6},  {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff},
                               {0x20000, 0x3fffd}};

size_t width_of(const character& c)
{
    return is_in(combining, c.code) ? 0 : is_in(wide, c.code) ? 2 : 1;
}

} // namespace

std::string printable(std::string_view text)
{
    std::string result;
    while (!text.empty()) {
        const character c = first_of(text);
        if (c.length == 0 || is_in(unsafe, c.code)) {
            result += '?';
        } else {
            result += text.substr(0, c.length);
        }
        text.remove_prefix(c.length == 0 ? 1 : c.length);
    }
    return result;
}

size_t display_width(std::string_view text)
{
    size_t width = 0;
    while (!text.empty()) {
        const character c = first_of(text);
        width += c.length == 0 ? 1 : width_of(c);
        text.remove_prefix(c.length == 0 ? 1 : c.length);
    }
    return width;
}

std::string display_cut(std::string_view text, size_t width)
{
    if (display_width(text) <= width) {
        return std::string(text);
    }
    size_t taken = 0, end = 0;
    while (end < text.size()) {
        const character c = first_of(text.substr(end));
        const size_t next = c.length == 0 ? 1 : width_of(c);
        if (taken + next + 1 > width) {
            break;
        }
        taken += next;
        end += c.length == 0 ? 1 : c.length;
    }
    return width == 0 ? std::string() : std::string(text.substr(0, end)) + "\xe2\x80\xa6";
}

} // namespace llm::ctl
