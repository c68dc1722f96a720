#include "text_pattern.h"

namespace llm {

namespace {

constexpr std::string_view lasting_names[] = {"id", "model", "system_fingerprint"};
constexpr std::string_view other_names[] = {
    "content",   "text",        "reasoning_content", "reasoning",
    "arguments", "obfuscation", "finish_reason",     "stop_reason",
};

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool is_hex(char c)
{
    const char l = ascii_lower(c);
    return is_digit(c) || (l >= 'a' && l <= 'f');
}

} // namespace

bool may_differ(std::string_view name_of_string)
{
    return lasts(name_of_string) || is_one_of(name_of_string, other_names);
}

bool lasts(std::string_view name_of_string)
{
    return is_one_of(name_of_string, lasting_names);
}

const char* string_end(const char* p, const char* end)
{
    for (;;) {
        p = find_string_stop(p, end);
        if (p == end || *p == '"') {
            return p == end ? nullptr : p;
        }
        if (*p != '\\' || end - p < 2) {
            return nullptr;
        }
        if (p[1] == 'u') {
            if (end - p < 6 || !std::all_of(p + 2, p + 6, is_hex)) {
                return nullptr;
            }
            p += 6;
        } else if (std::string_view("\"\\/bfnrt").find(p[1]) != std::string_view::npos) {
            p += 2;
        } else {
            return nullptr;
        }
    }
}

size_t plain_number_size(const char* p, const char* end, usage_field field)
{
    size_t n = 0;
    while (p + n != end && is_digit(p[n])) {
        ++n;
    }
    const bool plain = n != 0 && n <= text_pattern::max_digits(field) && (n == 1 || *p != '0') && p + n != end
                       && (p[n] == ',' || p[n] == '}' || p[n] == ' ');
    return plain ? n : 0;
}

} // namespace llm
