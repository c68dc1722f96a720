#include "string_text.h"

#include "core/base/utf8.h"
#include "json_bytes.h"

#include <array>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace llm {

namespace {

constexpr uint8_t no_digit = 0xff;

constexpr auto hex_digits = [] {
    std::array<uint8_t, 256> values{};
    values.fill(no_digit);
    for (uint8_t i = 0; i < 10; ++i) {
        values[static_cast<size_t>('0' + i)] = i;
    }
    for (uint8_t i = 0; i < 6; ++i) {
        values[static_cast<size_t>('a' + i)] = static_cast<uint8_t>(10 + i);
        values[static_cast<size_t>('A' + i)] = static_cast<uint8_t>(10 + i);
    }
    return values;
}();

// The bytes of an escape by the one after its backslash; 0 for one that begins none.
constexpr auto escape_sizes = [] {
    std::array<uint8_t, 256> sizes{};
    for (const char c : std::string_view("\"\\/bfnrt")) {
        sizes[static_cast<size_t>(c)] = 2;
    }
    sizes['u'] = 6;
    return sizes;
}();

// The size of the escape at this backslash; 0 where it is wrong, or not whole.
inline ptrdiff_t escape_size(const char* p, const char* end, uint64_t& surplus)
{
    const auto byte = [p](int i) { return static_cast<uint8_t>(p[i]); };
    if (end - p < 2) {
        return 0;
    }
    const uint8_t size = escape_sizes[byte(1)];
    if (size != 6) {
        surplus += size / 2;
        return size;
    }
    if (end - p < 6) {
        return 0;
    }
    const uint8_t digits[] = {hex_digits[byte(2)], hex_digits[byte(3)], hex_digits[byte(4)],
                              hex_digits[byte(5)]};
    if ((digits[0] | digits[1] | digits[2] | digits[3]) == no_digit) {
        return 0;
    }
    const uint32_t code =
        static_cast<uint32_t>(digits[0] << 12 | digits[1] << 8 | digits[2] << 4 | digits[3]);
    surplus += 6 - utf8_size_of_escape(code);
    return 6;
}

const char* past_by_bytes(const char* p, const char* end, uint64_t& surplus)
{
    for (;;) {
        p = find_string_stop(p, end);
        const ptrdiff_t size = p != end && *p == '\\' ? escape_size(p, end, surplus) : 0;
        if (size == 0) {
            return p;
        }
        p += size;
    }
}

#if defined(__SSE2__)
constexpr ptrdiff_t block_size = 64;

// Of 64 bytes, a bit each: those that end a run of text.
using stop_mask = uint64_t (*)(const char* p);

inline uint64_t stops_sse2(const char* p)
{
    const auto stops = [p](int i) {
        const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
        const __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
        const __m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
        const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        return _mm_or_si128(_mm_or_si128(quote, backslash), control);
    };
    const __m128i at[] = {stops(0), stops(16), stops(32), stops(48)};
    if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(at[0], at[1]), _mm_or_si128(at[2], at[3]))) == 0) {
        return 0;
    }
    const auto bits = [&](int i) {
        return uint64_t{static_cast<uint32_t>(_mm_movemask_epi8(at[i]))} << (16 * i);
    };
    return bits(0) | bits(1) | bits(2) | bits(3);
}

[[gnu::target("avx2")]] inline __m256i stops_of_half_avx2(const char* p)
{
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    const __m256i backslash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    const __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
    return _mm256_or_si256(_mm256_or_si256(quote, backslash), control);
}

[[gnu::target("avx2")]] inline uint64_t stops_avx2(const char* p)
{
    const __m256i low = stops_of_half_avx2(p);
    const __m256i high = stops_of_half_avx2(p + 32);
    const __m256i any = _mm256_or_si256(low, high);
    if (_mm256_testz_si256(any, any)) {
        return 0;
    }
    return static_cast<uint32_t>(_mm256_movemask_epi8(low))
           | uint64_t{static_cast<uint32_t>(_mm256_movemask_epi8(high))} << 32;
}

template <stop_mask Stops>
[[gnu::always_inline]] inline const char* past_by_blocks(const char* p, const char* end, uint64_t& surplus)
{
    while (end - p >= block_size) {
        ptrdiff_t done = 0;
        for (uint64_t stops = Stops(p); stops != 0; stops &= ~uint64_t{0} << done) {
            const ptrdiff_t i = __builtin_ctzll(stops);
            const ptrdiff_t size = p[i] == '\\' ? escape_size(p + i, end, surplus) : 0;
            if (size == 0) {
                return p + i;
            }
            done = i + size;
            if (done >= block_size) {
                break;
            }
        }
        p += done > block_size ? done : block_size;
    }
    return past_by_bytes(p, end, surplus);
}

const char* past_sse2(const char* p, const char* end, uint64_t& surplus)
{
    return past_by_blocks<stops_sse2>(p, end, surplus);
}

[[gnu::target("avx2")]] const char* past_avx2(const char* p, const char* end, uint64_t& surplus)
{
    return past_by_blocks<stops_avx2>(p, end, surplus);
}
#endif

constexpr string_text_way ways[] = {
#if defined(__SSE2__)
    {"avx2", past_avx2},
    {"sse2", past_sse2},
#endif
    {"bytes", past_by_bytes},
};

const string_text_way& fastest = string_text_ways().front();

} // namespace

std::span<const string_text_way> string_text_ways()
{
    std::span<const string_text_way> can(ways);
#if defined(__SSE2__)
    if (!__builtin_cpu_supports("avx2")) {
        can = can.subspan(1);
    }
#endif
    return can;
}

const char* past_string_text(const char* p, const char* end, uint64_t& surplus)
{
    return fastest.past(p, end, surplus);
}

} // namespace llm
