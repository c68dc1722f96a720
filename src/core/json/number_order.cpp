#include "number_order.h"

#include "core/base/chars.h"

#include <cstddef>
#include <cstdint>

namespace llm {

namespace {

// A number above 0 as 0.DIGITS times 10 to the power, with a first digit that is not 0.
struct decimal {
    int sign = 0; // 0: the number is 0
    int64_t power = 0;
    std::string_view digits = {}; // with the point somewhere in it, maybe

    explicit decimal(std::string_view text)
    {
        int its_sign = 1;
        if (text.starts_with('-')) {
            its_sign = -1;
            text.remove_prefix(1);
        }
        if (text.starts_with('I')) {
            sign = its_sign;
            power = INT64_MAX;
            return;
        }
        const size_t e = text.find_first_of("eE");
        const std::string_view number = text.substr(0, e);
        const size_t first = number.find_first_not_of("0.");
        if (first == std::string_view::npos) {
            return;
        }
        sign = its_sign;
        digits = number.substr(first);
        const size_t point = number.find('.');
        const auto at = static_cast<int64_t>(point == std::string_view::npos ? number.size() : point);
        const auto from = static_cast<int64_t>(first);
        power = at > from ? at - from : at - from + 1;
        if (e != std::string_view::npos) {
            power += exponent_of(text.substr(e + 1));
        }
    }

    static int64_t exponent_of(std::string_view text)
    {
        constexpr int64_t most = 1'000'000'000;
        const bool negative = text.starts_with('-');
        int64_t value = 0;
        for (const char c : text) {
            if (is_digit(c) && value < most) {
                value = value * 10 + (c - '0');
            }
        }
        return negative ? -value : value;
    }
};

// The next digit, or 0 behind the last one.
int take_digit(std::string_view& digits)
{
    if (digits.starts_with('.')) {
        digits.remove_prefix(1);
    }
    if (digits.empty()) {
        return 0;
    }
    const int digit = digits.front() - '0';
    digits.remove_prefix(1);
    return digit;
}

// Nothing but digits: JSON has no zeros before them.
bool is_plain(std::string_view text)
{
    for (const char c : text) {
        if (!is_digit(c)) {
            return false;
        }
    }
    return true;
}

} // namespace

int compare_numbers(std::string_view a, std::string_view b)
{
    if (is_plain(a) && is_plain(b)) {
        const int order = a.compare(b);
        return a.size() != b.size() ? (a.size() < b.size() ? -1 : 1) : (order > 0) - (order < 0);
    }
    decimal x(a);
    decimal y(b);
    if (x.sign != y.sign) {
        return x.sign < y.sign ? -1 : 1;
    }
    if (x.sign == 0) {
        return 0;
    }
    if (x.power != y.power) {
        return x.power < y.power ? -x.sign : x.sign;
    }
    while (!x.digits.empty() || !y.digits.empty()) {
        const int p = take_digit(x.digits);
        const int q = take_digit(y.digits);
        if (p != q) {
            return p < q ? -x.sign : x.sign;
        }
    }
    return 0;
}

} // namespace llm
