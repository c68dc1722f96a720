#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llm {

inline constexpr size_t max_number = 20;

namespace detail {

// The eight digits of a number below 10^8, a byte each, the first one in the lowest: halves of four digits,
// of two, and of one are split off in all lanes of a word at once. The factors are 1/100 and 1/10 in fixed
// point, exact for numbers of that size.
constexpr uint64_t eight_digits(uint32_t number)
{
    const uint64_t fours = number / 10000 | uint64_t{number % 10000} << 32;
    const uint64_t upper = (fours * 10486 >> 20) & 0x7f0000007f;
    const uint64_t twos = upper | (fours - 100 * upper) << 16;
    const uint64_t tens = (twos * 103 >> 10) & 0xf000f000f000f;
    return tens | (twos - 10 * tens) << 8;
}

inline constexpr uint64_t eight_zeros = 0x3030303030303030;

} // namespace detail

// Writes the number in decimal and returns the end. `out` has room for max_number characters, whatever the
// number is. std::to_chars goes by two digits: where replies have the x-ratelimit headers, a request takes
// 300 instructions more with it, as `bench/run.sh profile` counts (0.6 %).
inline char* put_number(char* out, uint64_t number)
{
    static_assert(std::endian::native == std::endian::little);
    constexpr uint64_t chunk = 100000000;
    if (number < 10) {
        *out = static_cast<char>('0' + number);
        return out + 1;
    }
    if (number >= chunk) {
        char* const rest = put_number(out, number / chunk);
        const uint64_t digits =
            detail::eight_digits(static_cast<uint32_t>(number % chunk)) | detail::eight_zeros;
        memcpy(rest, &digits, sizeof digits);
        return rest + sizeof digits;
    }
    uint64_t digits = detail::eight_digits(static_cast<uint32_t>(number));
    const int zeros = std::countr_zero(digits) & ~7; // bits of leading ones
    digits = (digits | detail::eight_zeros) >> zeros;
    memcpy(out, &digits, sizeof digits);
    return out + sizeof digits - zeros / 8;
}

} // namespace llm
