#include "utf8_check.h"

#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace llm {

namespace {

constexpr ptrdiff_t block_size = 64;

uint8_t byte_at(const char* p)
{
    return static_cast<uint8_t>(*p);
}

bool is_ascii_word(const char* p)
{
    uint64_t word = 0;
    std::memcpy(&word, p, sizeof word);
    return (word & 0x8080808080808080u) == 0;
}

const char* pass_by_words(const char* begin, const char* p, const char* end)
{
    for (; end - p >= 8; p += 8) {
        if (!is_ascii_word(p)) {
            return p;
        }
    }
    // The last of them, and some again.
    return end - begin >= 8 && is_ascii_word(end - 8) ? end : p;
}

#if defined(__SSE2__)
const char* pass_sse2(const char* begin, const char* p, const char* end)
{
    for (; end - p >= block_size; p += block_size) {
        const auto load = [p](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i)); };
        if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(load(0), load(16)), _mm_or_si128(load(32), load(48))))
            != 0) {
            break;
        }
    }
    return pass_by_words(begin, p, end);
}

// After Keiser and Lemire: what can be wrong with two bytes that stand together is looked up by three of
// their four halves, a bit each. It is wrong if all three say so. Two continuations are right as the second
// and third byte of a character, or the third and fourth, and only there.
enum : uint8_t {
    cut_off = 1 << 0,       // a lead without a continuation
    lone = 1 << 1,          // a continuation after ASCII
    overlong_of_3 = 1 << 2, // e0, then below a0
    above = 1 << 3,         // f4, then above 8f; f5 and higher
    surrogate = 1 << 4,     // ed, then above 9f
    overlong_of_2 = 1 << 5, // c0 or c1
    overlong_of_4 = 1 << 6, // f0, then below 90
    far_above = 1 << 6,     // f5 and higher, then below 90
    two = 1 << 7,           // continuations
};
constexpr uint8_t any = cut_off | lone | two; // not told by the low half of the first
constexpr uint8_t high = any | above | far_above;
constexpr uint8_t second = lone | overlong_of_2 | two;

struct half_table {
    alignas(16) uint8_t of[16];
};

constexpr half_table first_high{{lone, lone, lone, lone, lone, lone, lone, lone, two, two, two, two,
                                 cut_off | overlong_of_2, cut_off, cut_off | overlong_of_3 | surrogate,
                                 cut_off | above | far_above | overlong_of_4}};
constexpr half_table first_low{{any | overlong_of_2 | overlong_of_3 | overlong_of_4, any | overlong_of_2, any,
                                any, any | above, high, high, high, high, high, high, high, high,
                                high | surrogate, high, high}};
constexpr half_table second_high{{cut_off, cut_off, cut_off, cut_off, cut_off, cut_off, cut_off, cut_off,
                                  second | overlong_of_3 | overlong_of_4 | far_above,
                                  second | overlong_of_3 | above, second | surrogate | above,
                                  second | surrogate | above, cut_off, cut_off, cut_off, cut_off}};

[[gnu::target("avx2")]] inline __m256i load_avx2(const char* p)
{
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

[[gnu::target("avx2")]] inline __m256i look_up_avx2(const half_table& table, __m256i halves)
{
    const __m128i once = _mm_load_si128(reinterpret_cast<const __m128i*>(table.of));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(once), halves);
}

[[gnu::target("avx2")]] inline __m256i low_half_avx2(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(0x0f));
}

[[gnu::target("avx2")]] inline __m256i high_half_avx2(__m256i v)
{
    return low_half_avx2(_mm256_srli_epi16(v, 4));
}

// 0x80 where the byte is this lead or a higher one.
[[gnu::target("avx2")]] inline __m256i is_from_avx2(__m256i v, uint8_t lead)
{
    return _mm256_subs_epu8(v, _mm256_set1_epi8(static_cast<char>(lead - 0x80)));
}

// Of 32 bytes, by those and the three before them: not zero where something is wrong.
[[gnu::target("avx2")]] inline __m256i errors_avx2(const char* p)
{
    const __m256i before = load_avx2(p - 1);
    const __m256i pair = _mm256_and_si256(_mm256_and_si256(look_up_avx2(first_high, high_half_avx2(before)),
                                                           look_up_avx2(first_low, low_half_avx2(before))),
                                          look_up_avx2(second_high, high_half_avx2(load_avx2(p))));
    const __m256i within =
        _mm256_or_si256(is_from_avx2(load_avx2(p - 2), 0xe0), is_from_avx2(load_avx2(p - 3), 0xf0));
    return _mm256_xor_si256(_mm256_and_si256(within, _mm256_set1_epi8(static_cast<char>(0x80))), pair);
}

// Where the character begins that goes on at p, or p. All before is well-formed.
const char* last_begin(const char* p)
{
    for (int i = 1; i <= 3; ++i) {
        constexpr uint8_t least_lead[] = {0xc0, 0xe0, 0xf0};
        if (byte_at(p - i) >= least_lead[i - 1]) {
            return p - i;
        }
    }
    return p;
}

[[gnu::target("avx2")]] const char* pass_avx2(const char* begin, const char* p, const char* end)
{
    bool may_go_on = false; // a character, from the block before
    for (; end - p >= block_size; p += block_size) {
        const __m256i last = load_avx2(p + 32);
        if (!may_go_on && _mm256_movemask_epi8(_mm256_or_si256(load_avx2(p), last)) == 0) {
            continue;
        }
        if (p - begin < 3) {
            return p;
        }
        const __m256i errors = _mm256_or_si256(errors_avx2(p), errors_avx2(p + 32));
        if (_mm256_testz_si256(errors, errors) == 0) {
            return may_go_on ? last_begin(p) : p;
        }
        may_go_on = _mm256_movemask_epi8(last) != 0;
    }
    return may_go_on ? last_begin(p) : pass_by_words(begin, p, end);
}
#endif

constexpr utf8_check::way all_ways[] = {
#if defined(__SSE2__)
    {"avx2", pass_avx2, true},
    {"sse2", pass_sse2, false},
#endif
    {"words", pass_by_words, false},
};

const utf8_check::way& fastest = utf8_check::ways().front();

} // namespace

std::span<const utf8_check::way> utf8_check::ways()
{
    std::span<const way> can(all_ways);
#if defined(__SSE2__)
    if (!__builtin_cpu_supports("avx2")) {
        can = can.subspan(1);
    }
#endif
    return can;
}

size_t utf8_check::feed(std::string_view piece)
{
    return feed(piece, fastest);
}

size_t utf8_check::feed(std::string_view piece, const way& by)
{
    const char* const begin = piece.data();
    const char* const end = begin + piece.size();
    for (const char* p = begin; p != end; ++p) {
        if (missing_ == 0 && (by.passes_all || byte_at(p) < 0x80)) {
            p = by.pass(begin, p, end);
            if (p == end) {
                break;
            }
        }
        const uint8_t c = byte_at(p);
        if (missing_ != 0) {
            if (c < least_ || c > most_) {
                return static_cast<size_t>(p - begin);
            }
            --missing_;
            least_ = 0x80;
            most_ = 0xbf;
        } else if (c >= 0x80) {
            if (c < 0xc2 || c > 0xf4) {
                return static_cast<size_t>(p - begin);
            }
            missing_ = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
            least_ = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
            most_ = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        }
    }
    return piece.size();
}

} // namespace llm
