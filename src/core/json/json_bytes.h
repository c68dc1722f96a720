// Searches for the next byte that means something in JSON text or between its lines. Each returns a pointer
// into [p, end), or end where there is none.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace llm {

// The end of a run of plain text in a JSON string: a quote, a backslash or a control character.
inline const char* find_string_stop(const char* p, const char* end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)),
                                         _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        const int mask = _mm_movemask_epi8(hit);
        if (mask != 0) {
            return p + __builtin_ctz(static_cast<unsigned>(mask));
        }
    }
#endif
    for (; p != end; ++p) {
        if (*p == '"' || *p == '\\' || static_cast<unsigned char>(*p) < 0x20) {
            break;
        }
    }
    return p;
}

// What changes the nesting of JSON text outside of strings: a quote or a bracket; or NUL, which never stands
// there.
inline const char* find_nesting_stop(const char* p, const char* end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i open = _mm_set1_epi8('{');
    const __m128i close = _mm_set1_epi8('}');
    const __m128i fold = _mm_set1_epi8(0x20); // makes `[` and `]` of `{` and `}`, and those of no other byte
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const __m128i folded = _mm_or_si128(v, fold);
        const __m128i hit =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(folded, open), _mm_cmpeq_epi8(folded, close)),
                         _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, _mm_setzero_si128())));
        const int mask = _mm_movemask_epi8(hit);
        if (mask != 0) {
            return p + __builtin_ctz(static_cast<unsigned>(mask));
        }
    }
#endif
    for (; p != end; ++p) {
        const char c = static_cast<char>(*p | 0x20);
        if (c == '{' || c == '}' || *p == '"' || *p == '\0') {
            break;
        }
    }
    return p;
}

// A bracket, in a string or not, of those in front of `end`. Bytes up to `last` can be read.
inline const char* find_bracket(const char* p, const char* end, [[maybe_unused]] const char* last)
{
#if defined(__SSE2__)
    const __m128i open = _mm_set1_epi8('{');
    const __m128i close = _mm_set1_epi8('}');
    const __m128i fold = _mm_set1_epi8(0x20); // as in find_nesting_stop
    for (; p < end && last - p >= 16; p += 16) {
        const __m128i v = _mm_or_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), fold);
        const int mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, open), _mm_cmpeq_epi8(v, close)));
        if (mask != 0) {
            p += __builtin_ctz(static_cast<unsigned>(mask));
            return p < end ? p : end;
        }
    }
#endif
    for (; p < end; ++p) {
        const char c = static_cast<char>(*p | 0x20);
        if (c == '{' || c == '}') {
            return p;
        }
    }
    return end;
}

#if defined(__SSE2__)
// What stands in 32 bytes of JSON text, a bit each.
struct json_block {
    static constexpr int size = 32;

    uint32_t quotes;
    uint32_t brackets;
    uint32_t stops; // what ends a run of plain text in a string, but for quotes
    bool nul;       // a NUL among `stops`

    explicit json_block(const char* p)
    {
        const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16));
        const auto mask = [](__m128i a, __m128i b) {
            return static_cast<uint32_t>(_mm_movemask_epi8(a))
                   | static_cast<uint32_t>(_mm_movemask_epi8(b)) << 16;
        };
        const auto is = [](__m128i v, char c) { return _mm_cmpeq_epi8(v, _mm_set1_epi8(c)); };
        const auto bracket = [&](__m128i v) {
            const __m128i folded = _mm_or_si128(v, _mm_set1_epi8(0x20)); // as in find_nesting_stop
            return _mm_or_si128(is(folded, '{'), is(folded, '}'));
        };
        const auto stop = [&](__m128i v) {
            const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
            return _mm_or_si128(is(v, '\\'), control);
        };
        quotes = mask(is(low, '"'), is(high, '"'));
        brackets = mask(bracket(low), bracket(high));
        const __m128i low_stop = stop(low);
        const __m128i high_stop = stop(high);
        stops = 0;
        nul = false;
        if (_mm_movemask_epi8(_mm_or_si128(low_stop, high_stop)) != 0) {
            stops = mask(low_stop, high_stop);
            nul = mask(is(low, 0), is(high, 0)) != 0;
        }
    }

    // Without backslashes: the bytes that stand in strings, from an opening quote up to the closing one.
    // `inside` is all ones where the block begins in a string, else 0.
    uint32_t strings(uint32_t inside) const
    {
        uint32_t s = quotes;
        s ^= s << 1;
        s ^= s << 2;
        s ^= s << 4;
        s ^= s << 8;
        s ^= s << 16;
        return s ^ inside;
    }
};
#endif

// The end of a line: LF or CR.
inline const char* find_line_end(const char* p, const char* end)
{
#if defined(__SSE2__)
    const __m128i lf = _mm_set1_epi8('\n');
    const __m128i cr = _mm_set1_epi8('\r');
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const int mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(v, cr)));
        if (mask != 0) {
            return p + __builtin_ctz(static_cast<unsigned>(mask));
        }
    }
#endif
    for (; p != end; ++p) {
        if (*p == '\n' || *p == '\r') {
            break;
        }
    }
    return p;
}

} // namespace llm
