#include "time_text.h"

#include "core/base/chars.h"

#include <chrono>

namespace llm {

namespace {

// Takes exactly `count` digits off the front.
std::optional<unsigned> take_digits(std::string_view& text, size_t count)
{
    if (text.size() < count) {
        return std::nullopt;
    }
    unsigned value = 0;
    for (const char c : text.substr(0, count)) {
        if (!is_digit(c)) {
            return std::nullopt;
        }
        value = value * 10 + static_cast<unsigned>(c - '0');
    }
    text.remove_prefix(count);
    return value;
}

// Takes one character of `which` off the front.
bool take(std::string_view& text, std::string_view which)
{
    if (text.empty() || which.find(text[0]) == std::string_view::npos) {
        return false;
    }
    text.remove_prefix(1);
    return true;
}

struct clock_time {
    unsigned hour, minute;
};

std::optional<clock_time> take_clock(std::string_view& text)
{
    const std::optional<unsigned> hour = take_digits(text, 2);
    if (!hour || *hour > 23 || !take(text, ":")) {
        return std::nullopt;
    }
    const std::optional<unsigned> minute = take_digits(text, 2);
    if (!minute || *minute > 59) {
        return std::nullopt;
    }
    return clock_time{*hour, *minute};
}

} // namespace

std::optional<int64_t> parse_time(std::string_view text)
{
    const std::optional<unsigned> year = take_digits(text, 4);
    if (!year || !take(text, "-")) {
        return std::nullopt;
    }
    const std::optional<unsigned> month = take_digits(text, 2);
    if (!month || !take(text, "-")) {
        return std::nullopt;
    }
    const std::optional<unsigned> day = take_digits(text, 2);
    if (!day || !take(text, "Tt")) {
        return std::nullopt;
    }
    const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                           std::chrono::month(*month), std::chrono::day(*day)};
    const std::optional<clock_time> clock = take_clock(text);
    if (!date.ok() || !clock || !take(text, ":")) {
        return std::nullopt;
    }
    const std::optional<unsigned> second = take_digits(text, 2);
    if (!second || *second > 60) {
        return std::nullopt;
    }
    if (take(text, ".")) {
        if (!take_digits(text, 1)) {
            return std::nullopt;
        }
        while (take_digits(text, 1)) {
        }
    }
    int64_t offset = 0;
    if (!take(text, "Zz")) {
        const bool west = text.starts_with('-');
        if (!take(text, "+-")) {
            return std::nullopt;
        }
        const std::optional<clock_time> zone = take_clock(text);
        if (!zone) {
            return std::nullopt;
        }
        offset = static_cast<int64_t>(zone->hour) * 3600 + zone->minute * 60;
        offset = west ? -offset : offset;
    }
    if (!text.empty()) {
        return std::nullopt;
    }
    const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
    return days * 86400 + clock->hour * 3600 + clock->minute * 60 + *second - offset;
}

} // namespace llm
