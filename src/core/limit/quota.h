// The calendar windows of quotas, UTC. Everything is reckoned in whole hours since 1970, which is where every
// window begins and ends.
#pragma once

#include "limits.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace llm {

inline constexpr size_t quota_windows = 5; // all but none

inline constexpr size_t index_of(quota_window w)
{
    return static_cast<size_t>(w) - 1;
}

inline constexpr uint8_t bit_of(quota_window w)
{
    return static_cast<uint8_t>(1u << index_of(w));
}

inline constexpr uint32_t hour_of(int64_t unix_ms)
{
    return static_cast<uint32_t>(std::clamp<int64_t>(unix_ms, 0, int64_t{UINT32_MAX} * 1000) / 3600000);
}

namespace calendar {

// Years that begin in March put the leap day at their end. Days are counted from 1 March of the year 0,
// months likewise; 1970 began this much later.
inline constexpr uint32_t days_to_1970 = 719468;

inline constexpr uint32_t month_of_day(uint32_t unix_day)
{
    uint32_t day = unix_day + days_to_1970;
    uint32_t era = day / 146097; // 400 years
    uint32_t in_era = day % 146097;
    uint32_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint32_t in_year = in_era - (365 * year + year / 4 - year / 100);
    return (era * 400 + year) * 12 + (5 * in_year + 2) / 153;
}

inline constexpr uint32_t first_day_of_month(uint32_t month)
{
    uint32_t year = month / 12;
    return year * 365 + year / 4 - year / 100 + year / 400 + (153 * (month % 12) + 2) / 5 - days_to_1970;
}

} // namespace calendar

// The number of the window that an hour lies in: later windows have higher numbers.
inline constexpr uint32_t quota_period(quota_window w, uint32_t hour)
{
    switch (w) {
    case quota_window::hour:
        return hour;
    case quota_window::day:
        return hour / 24;
    case quota_window::week: // 1970 began on a Thursday, weeks begin on Monday
        return (hour / 24 + 3) / 7;
    case quota_window::month:
        return calendar::month_of_day(hour / 24);
    case quota_window::none:
    case quota_window::total:
        break;
    }
    return 0;
}

// How many hours a window has at most.
inline constexpr uint32_t quota_hours(quota_window w)
{
    switch (w) {
    case quota_window::hour:
        return 1;
    case quota_window::day:
        return 24;
    case quota_window::week:
        return 168;
    case quota_window::month:
        return 744;
    case quota_window::none:
    case quota_window::total:
        break;
    }
    return UINT32_MAX;
}

// The first hour after the window that this hour lies in; no window ends after UINT32_MAX.
inline constexpr uint32_t quota_end(quota_window w, uint32_t hour)
{
    uint32_t next = quota_period(w, hour) + 1;
    switch (w) {
    case quota_window::hour:
        return next;
    case quota_window::day:
        return next * 24;
    case quota_window::week:
        return (next * 7 - 3) * 24;
    case quota_window::month:
        return calendar::first_day_of_month(next) * 24;
    case quota_window::none:
    case quota_window::total:
        break;
    }
    return UINT32_MAX;
}

} // namespace llm
