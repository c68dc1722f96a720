#include "limit_text.h"

#include "core/base/number_text.h"
#include "quota.h"

namespace llm {

namespace {

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

    // Counted from March of the year 0, see quota.h.
    uint32_t months = calendar::month_of_day(static_cast<uint32_t>(days));
    uint64_t day = days - calendar::first_day_of_month(months) + 1;
    uint32_t from_january = months + 2;
    uint64_t month = from_january % 12 + 1;
    uint64_t year = from_january / 12;

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
