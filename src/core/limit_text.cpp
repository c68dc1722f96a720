#include "limit_text.h"

#include <charconv>

namespace llm {

namespace {

char* put_number(char* out, uint64_t number)
{
    return std::to_chars(out, out + 20, number).ptr;
}

char* put_padded(char* out, uint64_t number, unsigned digits)
{
    for (unsigned i = digits; i-- > 0; number /= 10) {
        out[i] = static_cast<char>('0' + number % 10);
    }
    return out + digits;
}

} // namespace

std::string_view write_duration(uint64_t ms, char* out)
{
    char* p = out;
    if (ms > 0 && ms < 1000) {
        p = put_number(p, ms);
        *p++ = 'm';
        *p++ = 's';
        return {out, static_cast<size_t>(p - out)};
    }
    uint64_t seconds = ms / 1000;
    if (seconds >= 3600) {
        p = put_number(p, seconds / 3600);
        *p++ = 'h';
    }
    if (seconds >= 60) {
        p = put_number(p, seconds / 60 % 60);
        *p++ = 'm';
    }
    p = put_number(p, seconds % 60);
    if (unsigned thousandths = static_cast<unsigned>(ms % 1000)) {
        *p++ = '.';
        p = put_padded(p, thousandths, 3);
        while (p[-1] == '0') {
            p--;
        }
    }
    *p++ = 's';
    return {out, static_cast<size_t>(p - out)};
}

std::string_view write_time(int64_t unix_ms, char* out)
{
    uint64_t seconds = unix_ms > 0 ? static_cast<uint64_t>(unix_ms) / 1000 : 0;
    // Four digits of a year are all that the form has.
    seconds = seconds < 253402300799u ? seconds : 253402300799u;
    uint64_t days = seconds / 86400;
    uint64_t in_day = seconds % 86400;

    // Years that begin in March put the leap day at their end.
    uint64_t shifted = days + 719468;
    uint64_t era = shifted / 146097;
    uint64_t in_era = shifted % 146097;
    uint64_t year_of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month_from_march = (5 * in_year + 2) / 153;
    uint64_t day = in_year - (153 * month_from_march + 2) / 5 + 1;
    uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);

    char* p = put_padded(out, year, 4);
    *p++ = '-';
    p = put_padded(p, month, 2);
    *p++ = '-';
    p = put_padded(p, day, 2);
    *p++ = 'T';
    p = put_padded(p, in_day / 3600, 2);
    *p++ = ':';
    p = put_padded(p, in_day / 60 % 60, 2);
    *p++ = ':';
    p = put_padded(p, in_day % 60, 2);
    *p++ = 'Z';
    return {out, static_cast<size_t>(p - out)};
}

} // namespace llm
