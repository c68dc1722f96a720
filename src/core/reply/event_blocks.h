// Finds what may be significant in the bytes of events, 64 at a time, in the way of each processor. Internal
// to event_skip.
//
// Where there is no SSE2, events are searched byte by byte. On ARM a mask would be made as follows: the same
// comparisons by vceqq_u8, or vqtbl1q_u8 for begin_by_half(); as there is no movemask, vshrn_n_u16(mask, 4)
// makes four bits a byte of 16 bytes, of which the place is ctz / 4, and four such masks joined by vandq_u8
// with 1, 2, 4 ... and three times vpaddq_u8 make the 64 bits that block_mask returns.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>

namespace llm::detail {

constexpr ptrdiff_t block_size = 64;

// Of 64 bytes, a bit each: those that may begin what event_skip has to look at. These are LF, CR and few
// others below 0x10, and by two bytes of each name it knows, "u "e "t and \u. Reads 65.
using block_mask = uint64_t (*)(const char* p);

inline __m128i may_tell(const char* p)
{
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 1));
    const auto is = [](__m128i bytes, char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); };
    const __m128i line_end = _mm_cmpeq_epi8(_mm_min_epu8(first, _mm_set1_epi8(0x0f)), first);
    const __m128i u_or_e = is(_mm_or_si128(second, _mm_set1_epi8('u' ^ 'e')), 'u');
    const __m128i letter = _mm_or_si128(u_or_e, is(second, 't'));
    const __m128i begin = _mm_or_si128(is(first, '"'), is(first, '\\'));
    return _mm_or_si128(line_end, _mm_and_si128(begin, letter));
}

inline uint64_t block_mask_sse2(const char* p)
{
    const __m128i at[] = {may_tell(p), may_tell(p + 16), may_tell(p + 32), may_tell(p + 48)};
    if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(at[0], at[1]), _mm_or_si128(at[2], at[3]))) == 0) {
        return 0;
    }
    const auto bits = [&](int i) {
        return uint64_t{static_cast<uint32_t>(_mm_movemask_epi8(at[i]))} << (16 * i);
    };
    return bits(0) | bits(1) | bits(2) | bits(3);
}

// By the low half of a byte, which of the two that begin a name has it. No byte is what stands at the other
// places.
inline __m128i begin_by_half()
{
    return _mm_setr_epi8(1, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0);
}

[[gnu::target("avx2")]] inline __m256i load_avx2(const char* p)
{
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

[[gnu::target("avx2")]] inline __m256i is_name_avx2(__m256i first, __m256i second)
{
    const __m256i u_or_e =
        _mm256_cmpeq_epi8(_mm256_or_si256(second, _mm256_set1_epi8('u' ^ 'e')), _mm256_set1_epi8('u'));
    const __m256i letter = _mm256_or_si256(u_or_e, _mm256_cmpeq_epi8(second, _mm256_set1_epi8('t')));
    const __m256i by_half = _mm256_broadcastsi128_si256(begin_by_half());
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(by_half, first), first), letter);
}

[[gnu::target("avx2")]] inline __m256i is_line_end_avx2(__m256i bytes)
{
    return _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x0f)), bytes);
}

[[gnu::target("avx2")]] inline uint64_t block_mask_avx2(const char* p)
{
    const __m256i low = load_avx2(p);
    const __m256i high = load_avx2(p + 32);
    const __m256i low_name = is_name_avx2(low, load_avx2(p + 1));
    const __m256i high_name = is_name_avx2(high, load_avx2(p + 33));
    const __m256i any_end = is_line_end_avx2(_mm256_min_epu8(low, high));
    const __m256i any = _mm256_or_si256(_mm256_or_si256(low_name, high_name), any_end);
    if (_mm256_testz_si256(any, any)) {
        return 0;
    }
    const auto low_bits =
        static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_or_si256(low_name, is_line_end_avx2(low))));
    const auto high_bits =
        static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_or_si256(high_name, is_line_end_avx2(high))));
    return low_bits | uint64_t{high_bits} << 32;
}

[[gnu::target("avx512f,avx512bw")]] inline uint64_t block_mask_avx512(const char* p)
{
    const __m512i first = _mm512_loadu_si512(p);
    const __m512i second = _mm512_loadu_si512(p + 1);
    // All of the mask, but gcc 12 warns of the form without one.
    const __m512i by_half = _mm512_maskz_broadcast_i32x4(0xffff, begin_by_half());
    const __mmask64 line_end = _mm512_cmple_epu8_mask(first, _mm512_set1_epi8(0x0f));
    const __mmask64 begin = _mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(by_half, first), first);
    const __m512i folded = _mm512_or_si512(second, _mm512_set1_epi8('u' ^ 'e'));
    const __mmask64 u_or_e = _mm512_mask_cmpeq_epi8_mask(begin, folded, _mm512_set1_epi8('u'));
    const __mmask64 t = _mm512_mask_cmpeq_epi8_mask(begin, second, _mm512_set1_epi8('t'));
    return line_end | u_or_e | t;
}

} // namespace llm::detail
#endif
