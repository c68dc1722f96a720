#include "core/limit/limit_text.h"

#include <ctime>
#include <gtest/gtest.h>
#include <string>

using namespace llm;

namespace {

std::string duration(uint64_t ms)
{
    char text[limit_text_bytes];
    return std::string(write_duration(ms, text));
}

std::string time_text(int64_t unix_ms)
{
    char text[limit_text_bytes];
    return std::string(write_time(unix_ms, text));
}

} // namespace

TEST(limit_text, durations_are_in_gos_form)
{
    EXPECT_EQ(duration(0), "0s");
    EXPECT_EQ(duration(120), "120ms");
    EXPECT_EQ(duration(1000), "1s");
    EXPECT_EQ(duration(12441), "12.441s");
    EXPECT_EQ(duration(1500), "1.5s");
    EXPECT_EQ(duration(69696), "1m9.696s");
    EXPECT_EQ(duration(360000), "6m0s");
    EXPECT_EQ(duration(3600000), "1h0m0s");
}

TEST(limit_text, times_agree_with_the_c_library)
{
    for (int64_t s = 0; s < 253402300800; s += 86399 * 37 + 12345) {
        time_t t = s;
        tm date;
        char expected[40];
        gmtime_r(&t, &date);
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%SZ", &date);
        ASSERT_EQ(time_text(s * 1000), expected);
    }
    EXPECT_EQ(time_text(1709164800000), "2024-02-29T00:00:00Z");
    EXPECT_EQ(time_text(-5), "1970-01-01T00:00:00Z");
    EXPECT_EQ(time_text(INT64_MAX), "9999-12-31T23:59:59Z");
}
