// Searches for the next byte of a kind, each of which returns a pointer into [p, end), or end where there is
// none; and a comparison.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace llm {

// Other bytes than ASCII capitals stay as they are.
constexpr char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

namespace detail {

// Of texts of n bytes, whether their first and their last word are the same.
template <typename Word>
bool same_ends(const char* a, const char* b, size_t n)
{
    const auto same_at = [&](size_t i) {
        Word x;
        Word y;
        std::memcpy(&x, a + i, sizeof x);
        std::memcpy(&y, b + i, sizeof y);
        return x == y;
    };
    return same_at(0) && same_at(n - sizeof(Word));
}

} // namespace detail

// memcmp, without a call of it where the bytes are few.
inline bool same_bytes(const char* a, const char* b, size_t n)
{
    if (n > 64) {
        return std::memcmp(a, b, n) == 0;
    }
    if (n >= 16) {
#if defined(__SSE2__)
        const auto same = [&](size_t i) {
            const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i));
            const __m128i y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i));
            return _mm_cmpeq_epi8(x, y);
        };
        size_t i = 0;
        for (; i + 32 <= n; i += 32) {
            if (_mm_movemask_epi8(_mm_and_si128(same(i), same(i + 16))) != 0xffff) {
                return false;
            }
        }
        // The last 16 twice, or all that are left: some bytes of them again.
        return _mm_movemask_epi8(_mm_and_si128(same(n - i > 16 ? i : n - 16), same(n - 16))) == 0xffff;
#else
        return std::memcmp(a, b, n) == 0;
#endif
    }
    if (n >= 8) {
        return detail::same_ends<uint64_t>(a, b, n);
    }
    if (n >= 4) {
        return detail::same_ends<uint32_t>(a, b, n);
    }
    return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

// What is no decimal digit.
inline const char* find_digits_end(const char* p, const char* end)
{
#if defined(__SSE2__)
    const __m128i zero = _mm_set1_epi8('0');
    const __m128i nine = _mm_set1_epi8(9);
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_sub_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), zero);
        const int digits = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, nine), v));
        if (digits != 0xffff) {
            return p + __builtin_ctz(~static_cast<unsigned>(digits));
        }
    }
#endif
    while (p != end && *p >= '0' && *p <= '9') {
        ++p;
    }
    return p;
}

} // namespace llm
