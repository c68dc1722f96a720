#include "json_count.h"

#include "core/base/chars.h"

namespace llm {

namespace {

constexpr uint64_t max_whole = uint64_t{1} << 50;
constexpr int64_t max_zeros = 3;

// Apart from the usual case, which is then as short as it can be.
[[gnu::cold, gnu::noinline]] bool scaled_count(std::string_view number, uint64_t limit, bool cuts,
                                               uint64_t& count)
{
    // The value is digits * 10^(exponent - fraction digits); trailing zeros of the digits are moved to the
    // exponent.
    size_t i = 0;
    const bool negative = !number.empty() && number[0] == '-';
    if (negative) {
        ++i;
    }
    if (i == number.size() || !is_digit(number[i])) {
        return false;
    }

    uint64_t digits = 0;
    int64_t shift = 0;
    int64_t zeros = 0; // seen, not yet in `digits`
    bool any = false;  // a digit other than 0
    bool big = false;
    bool point = false;
    for (; i < number.size(); ++i) {
        const char c = number[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(c)) {
            break;
        }
        // So many digits more are of no account, and would have no room.
        if (cuts && point && (digits > max_whole || zeros > max_zeros)) {
            continue;
        }
        if (point) {
            --shift;
        }
        if (c == '0') {
            if (any) {
                ++zeros;
            }
            continue;
        }
        any = true;
        for (; zeros >= 0; --zeros) {
            if (digits > (UINT64_MAX - 9) / 10) {
                big = true;
            } else {
                digits *= 10;
            }
        }
        zeros = 0;
        digits += big ? 0 : static_cast<uint64_t>(c - '0');
    }
    if (i < number.size()) {
        if (number[i] != 'e' && number[i] != 'E') {
            return false;
        }
        ++i;
        const bool down = i < number.size() && number[i] == '-';
        if (i < number.size() && (number[i] == '-' || number[i] == '+')) {
            ++i;
        }
        if (i == number.size()) {
            return false;
        }
        int64_t exponent = 0;
        for (; i < number.size(); ++i) {
            if (!is_digit(number[i])) {
                return false;
            }
            if (exponent < 1000000) {
                exponent = exponent * 10 + (number[i] - '0');
            }
        }
        shift += down ? -exponent : exponent;
    }
    if (!any) {
        count = 0;
        return true;
    }
    shift += zeros;
    if (negative || (shift < 0 && !cuts)) {
        return false;
    }
    for (; shift < 0 && digits != 0; ++shift) {
        digits /= 10;
    }
    for (; shift > 0 && !big; --shift) {
        big = digits > UINT64_MAX / 10;
        digits *= big ? 1 : 10;
    }
    count = big || digits > limit ? limit : digits;
    return true;
}

bool count_of(std::string_view number, uint64_t limit, bool cuts, uint64_t& count)
{
    // Most counts are a few digits.
    constexpr size_t sure = 18; // digits that cannot overflow
    uint64_t plain = 0;
    size_t i = 0;
    while (i < number.size() && is_digit(number[i]) && i < sure) {
        plain = plain * 10 + static_cast<uint64_t>(number[i] - '0');
        ++i;
    }
    if (i == 0 || i != number.size()) {
        return scaled_count(number, limit, cuts, count);
    }
    count = plain < limit ? plain : limit;
    return true;
}

} // namespace

bool json_count(std::string_view number, uint64_t limit, uint64_t& count)
{
    return count_of(number, limit, false, count);
}

bool json_count_part(std::string_view number, uint64_t limit, uint64_t& count)
{
    return count_of(number, limit, true, count);
}

} // namespace llm
