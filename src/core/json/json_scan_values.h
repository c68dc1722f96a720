// What json_scanner reads at once of values that lie whole in the piece. Internal to it.
#pragma once

#include "core/base/bytes.h"
#include "core/base/chars.h"
#include "json_bytes.h"
#include "json_scan.h"

#include <cstddef>
#include <cstring>

namespace llm {

[[gnu::noinline]] inline const char* past_some_space(const char* p, const char* end)
{
    while (p != end && is_space(*p)) {
        ++p;
    }
    return p;
}

// Mostly there is none, or one.
inline const char* past_space(const char* p, const char* end)
{
    if (p != end && *p > ' ') {
        return p;
    }
    return end - p > 1 && *p == ' ' && p[1] > ' ' ? p + 1 : past_some_space(p, end);
}

inline bool is_null(const char* p, const char* end)
{
    return end - p >= 4 && std::memcmp(p, "null", 4) == 0;
}

// Where a string has to end that is looked at 16 bytes at a time: a longer one is passed over faster.
inline const char* within(const char* p, const char* end)
{
    constexpr ptrdiff_t short_string = json_scanner::max_text;
    return end - p > short_string ? p + short_string : end;
}

// The end of a number in digits, with a fraction or not; p where there is another value or it may go on.
inline const char* past_plain_number(const char* p, const char* end)
{
    if (!is_digit(*p)) {
        return p;
    }
    const char* stop = find_digits_end(p + 1, end);
    if (*p == '0' && stop != p + 1) {
        return p;
    }
    if (stop != end && *stop == '.') {
        const char* const fraction = stop + 1;
        stop = find_digits_end(fraction, end);
        if (stop == fraction) {
            return p;
        }
    }
    return stop != end && *stop != '.' && (*stop | 0x20) != 'e' ? stop : p;
}

// The end of the usual scalars that are no strings; p where there is another value, or it does not end in the
// piece.
inline const char* past_plain_scalar(const char* p, const char* end)
{
    const auto is = [&](const char* word, ptrdiff_t size) {
        return end - p >= size && std::memcmp(p, word, static_cast<size_t>(size)) == 0;
    };
    switch (*p) {
    case 'n':
        return is("null", 4) ? p + 4 : p;
    case 't':
        return is("true", 4) ? p + 4 : p;
    case 'f':
        return is("false", 5) ? p + 5 : p;
    default:
        return past_plain_number(p, end);
    }
}

// Likewise, and those of strings.
inline const char* past_plain_value(const char* p, const char* end)
{
    if (*p == '"') {
        const char* const near = within(p + 1, end);
        const char* const stop = find_string_stop(p + 1, near);
        return stop != near && *stop == '"' ? stop + 1 : p;
    }
    return past_plain_scalar(p, end);
}

} // namespace llm
