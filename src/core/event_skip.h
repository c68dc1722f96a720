// Passes over events of a stream that can not say anything about usage, errors or the stream's end, faster
// than reading them: what it passes over, usage_reader would read and not change by.
#pragma once

#include "bytes.h"

#include <cstddef>
#include <cstring>
#include <string_view>

namespace llm {

namespace detail {

inline bool starts(const char* p, const char* end, std::string_view text)
{
    return static_cast<size_t>(end - p) >= text.size() && std::memcmp(p, text.data(), text.size()) == 0;
}

inline bool is_null_member(const char* p, const char* end)
{
    return starts(p, end, ":null") || starts(p, end, ": null");
}

inline bool is_error_line(const char* p, const char* end)
{
    constexpr std::string_view name = "error";
    return starts(p, end, name)
           && (p + name.size() == end || p[name.size()] == ':' || p[name.size()] == '\n');
}

// Whether the byte at p begins something that has to be read. Names can be spelled with \u00XX for their
// letters, which are all from \u0061 on.
inline bool is_telling(const char* p, const char* end)
{
    switch (*p) {
    case '\r':
        return true;
    case '"':
        return (starts(p, end, "\"usage\"") || starts(p, end, "\"error\"")) && !is_null_member(p + 7, end);
    case '\\':
        return starts(p, end, "\\u006") || starts(p, end, "\\u007");
    case '[':
        return starts(p, end, "[DONE]");
    case '\n':
        return is_error_line(p + 1, end);
    default:
        return false;
    }
}

inline const char* find_telling(const char* p, const char* end)
{
#if defined(__SSE2__)
    // The first two bytes of each text that is_telling() knows are one of these and one of those: few other
    // pairs are.
    const auto pairs = [](const char* at) {
        const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 1));
        const auto is = [](__m128i bytes, char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); };
        const __m128i one = _mm_or_si128(_mm_or_si128(is(first, '"'), is(first, '\n')),
                                         _mm_or_si128(is(first, '\\'), is(first, '[')));
        const __m128i two = _mm_or_si128(_mm_or_si128(is(second, 'u'), is(second, 'e')), is(second, 'D'));
        return _mm_or_si128(_mm_and_si128(one, two), is(first, '\r'));
    };
    for (; end - p >= 33; p += 32) {
        const __m128i low = pairs(p);
        const __m128i high = pairs(p + 16);
        if (_mm_movemask_epi8(_mm_or_si128(low, high)) == 0) {
            continue;
        }
        unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(low) | _mm_movemask_epi8(high) << 16);
        for (; mask != 0; mask &= mask - 1) {
            const char* const at = p + __builtin_ctz(mask);
            if (is_telling(at, end)) {
                return at;
            }
        }
    }
#endif
    while (p != end && !is_telling(p, end)) {
        ++p;
    }
    return p;
}

} // namespace detail

// One past the last empty line of `piece` that a pair of line feeds makes; its begin where there is none.
inline const char* last_event_end(std::string_view piece)
{
    size_t i = piece.size();
    while (i >= 2 && (piece[i - 1] != '\n' || piece[i - 2] != '\n')) {
        --i;
    }
    return i < 2 ? piece.data() : piece.data() + i;
}

// `events` begins and ends at borders of events. Returns how many bytes from its front are whole events
// without a name "usage" or "error" (unless null) at any depth and in any spelling, without a field line
// `error`, without [DONE], and without CR.
inline size_t quiet_events(std::string_view events)
{
    const char* const begin = events.data();
    const char* const end = begin + events.size();
    if (detail::is_error_line(begin, end)) {
        return 0;
    }
    const char* const telling = detail::find_telling(begin, end);
    if (telling == end) {
        return events.size();
    }
    // Back to the border of its event. A telling line feed may itself be the border's second one.
    const char* const to = *telling == '\n' ? telling + 1 : telling;
    return static_cast<size_t>(last_event_end({begin, static_cast<size_t>(to - begin)}) - begin);
}

} // namespace llm
