// The small spellings of key files and directives: rates, networks, times.

#include "keys/network_text.h"
#include "keys/rate_text.h"
#include "keys/time_text.h"

#include <gtest/gtest.h>
#include <string>

namespace llm {
namespace {

TEST(rate_text, counts)
{
    EXPECT_EQ(parse_count("0"), 0u);
    EXPECT_EQ(parse_count("007"), 7u);
    EXPECT_EQ(parse_count("100k"), 100000u);
    EXPECT_EQ(parse_count("10M"), 10000000u);
    EXPECT_EQ(parse_count("9223372036854775807"), uint64_t{INT64_MAX});
    EXPECT_EQ(parse_count("9223372036854775k"), 9223372036854775000u);
    for (const char* text :
         {"", "k", "-1", "+1", " 1", "1 ", "1kk", "1km", "1.5k", "0x10", "1g", "1e3", "9223372036854775808",
          "9223372036854776k", "99999999999999999999999", "9223372036855m"}) {
        EXPECT_FALSE(parse_count(text)) << text;
    }
    EXPECT_FALSE(parse_count(std::string_view("1\0", 2)));
}

TEST(rate_text, rates)
{
    const auto is = [](std::string_view text, rate_unit kind, uint64_t amount, uint64_t period_ms) {
        const auto value = parse_rate(text, kind);
        return value && value->amount == amount && value->period_ms == period_ms;
    };
    EXPECT_TRUE(is("10r/s", rate_unit::requests, 10, 1000));
    EXPECT_TRUE(is("1kr/m", rate_unit::requests, 1000, 60000));
    EXPECT_TRUE(is("5r/h", rate_unit::requests, 5, 3600000));
    EXPECT_TRUE(is("5r/d", rate_unit::requests, 5, 86400000));
    EXPECT_TRUE(is("100k/m", rate_unit::tokens, 100000, 60000));
    EXPECT_TRUE(is("1M/d", rate_unit::tokens, 1000000, 86400000));
    for (const char* text : {"10/s", "r/s", "0r/s", "10r", "10r/", "10r/x", "10r/mo", "10rr/s", "10r/s ",
                             "10rk/s", "/s", "", "10r/s/s", "10R/s", "10r/S", "99999999999999999999r/s"}) {
        EXPECT_FALSE(parse_rate(text, rate_unit::requests)) << text;
    }
    for (const char* text :
         {"100k/x", "100kr/m", "0/m", "0k/m", "/m", "100k", "100k/mo", "-1/m", "1.5k/m", "1/w"}) {
        EXPECT_FALSE(parse_rate(text, rate_unit::tokens)) << text;
    }
}

TEST(rate_text, quotas)
{
    const auto is = [](std::string_view text, uint64_t amount, quota_window window) {
        const auto value = parse_quota(text);
        return value && value->amount == amount && value->window == window;
    };
    EXPECT_TRUE(is("10k/h", 10000, quota_window::hour));
    EXPECT_TRUE(is("1/d", 1, quota_window::day));
    EXPECT_TRUE(is("2m/w", 2000000, quota_window::week));
    EXPECT_TRUE(is("10m/mo", 10000000, quota_window::month));
    EXPECT_TRUE(is("5/total", 5, quota_window::total));
    for (const char* text :
         {"", "10", "10m", "10/m", "10/s", "10/y", "0/d", "/d", "10/", "10/total ", "10/MO", "-1/d"}) {
        EXPECT_FALSE(parse_quota(text)) << text;
    }
}

// As written, cleared of host bits; "-" if it is none.
std::string network_of(std::string_view text)
{
    auto range = parse_network(text);
    if (!range) {
        return "-";
    }
    const bool cleared = clear_host_bits(*range);
    return (cleared ? "!" : "") + to_text(*range);
}

TEST(network_text, ranges)
{
    EXPECT_EQ(network_of("10.0.0.0/8"), "10.0.0.0/8");
    EXPECT_EQ(network_of("10.1.2.3/8"), "!10.0.0.0/8");
    EXPECT_EQ(network_of("192.168.1.255/25"), "!192.168.1.128/25");
    EXPECT_EQ(network_of("1.2.3.4"), "1.2.3.4");
    EXPECT_EQ(network_of("1.2.3.4/32"), "1.2.3.4");
    EXPECT_EQ(network_of("0.0.0.0/0"), "0.0.0.0/0");
    EXPECT_EQ(network_of("1.2.3.4/0"), "!0.0.0.0/0");
    EXPECT_EQ(network_of("::/0"), "::/0");
    EXPECT_EQ(network_of("2001:DB8::/32"), "2001:db8::/32");
    EXPECT_EQ(network_of("2001:db8::1/32"), "!2001:db8::/32");
    EXPECT_EQ(network_of("fe80::1"), "fe80::1");
    EXPECT_EQ(network_of("fe80::ffff/127"), "!fe80::fffe/127");
    for (const char* text : {"",
                             "/",
                             "/8",
                             "10.0.0.0/",
                             "10.0.0.0/33",
                             "10.0.0.0/08",
                             "10.0.0.0/ 8",
                             "10.0.0.0/-1",
                             "10.0.0.0/8/8",
                             "10.0.0",
                             "10.0.0.256",
                             "010.0.0.1",
                             " 10.0.0.1",
                             "10.0.0.1 ",
                             "::/129",
                             "::1%lo",
                             "[::1]",
                             "1:2:3:4:5:6:7:8:9",
                             "localhost",
                             "10.0.0.0/9999999999",
                             "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000"}) {
        EXPECT_EQ(network_of(text), "-") << text;
    }
    EXPECT_EQ(network_of(std::string_view("10.0.0.1\0", 9)), "-");
}

TEST(network_text, mapped_addresses_are_ipv4)
{
    const auto mapped = parse_network("::ffff:10.0.0.0/104");
    ASSERT_TRUE(mapped);
    EXPECT_EQ(*mapped, *parse_network("10.0.0.0/8"));
    EXPECT_EQ(network_of("::ffff:1.2.3.4"), "1.2.3.4");
    EXPECT_EQ(network_of("::ffff:0:0/96"), "0.0.0.0/0");
    EXPECT_TRUE(parse_network("::ffff:0:0/95")->v6);
}

TEST(network_text, every_prefix)
{
    for (int prefix = 0; prefix <= 128; prefix++) {
        const std::string suffix = '/' + std::to_string(prefix);
        auto all = parse_network("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" + suffix);
        ASSERT_TRUE(all);
        EXPECT_EQ(clear_host_bits(*all), prefix < 128);
        int bits = 0;
        for (const uint8_t byte : all->address) {
            bits += __builtin_popcount(byte);
        }
        EXPECT_EQ(bits, prefix);
        EXPECT_FALSE(clear_host_bits(*all));
        const auto v4 = parse_network("255.255.255.255" + suffix);
        EXPECT_EQ(v4.has_value(), prefix <= 32);
    }
}

TEST(time_text, times)
{
    EXPECT_EQ(parse_time("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(parse_time("2027-01-01T00:00:00Z"), 1798761600);
    EXPECT_EQ(parse_time("2027-01-01t01:30:00+01:30"), 1798761600);
    EXPECT_EQ(parse_time("2026-12-31T16:00:00-08:00"), 1798761600);
    EXPECT_EQ(parse_time("2027-01-01T00:00:00.999999999z"), 1798761600);
    EXPECT_EQ(parse_time("2026-12-31T23:59:60Z"), 1798761600);
    EXPECT_EQ(parse_time("2024-02-29T12:00:00Z"), 1709208000);
    EXPECT_EQ(parse_time("1969-12-31T23:59:59Z"), -1);
    EXPECT_EQ(parse_time("9999-12-31T23:59:59Z"), 253402300799);
    for (const char* text : {"",
                             "2027-01-01",
                             "2027-01-01T00:00:00",
                             "2027-01-01 00:00:00Z",
                             "2027-02-29T00:00:00Z",
                             "2027-13-01T00:00:00Z",
                             "2027-00-01T00:00:00Z",
                             "2027-01-00T00:00:00Z",
                             "2027-04-31T00:00:00Z",
                             "2027-01-01T24:00:00Z",
                             "2027-01-01T00:60:00Z",
                             "2027-01-01T00:00:61Z",
                             "2027-01-01T00:00:00.Z",
                             "2027-01-01T00:00:00+1:00",
                             "2027-01-01T00:00:00+0100",
                             "2027-01-01T00:00:00+24:00",
                             "2027-01-01T00:00:00Z ",
                             "27-01-01T00:00:00Z",
                             "2027-1-01T00:00:00Z",
                             "-2027-01-01T00:00:00Z",
                             "2027-01-01T00:00Z",
                             "2100-02-29T00:00:00Z",
                             "1798761600"}) {
        EXPECT_FALSE(parse_time(text)) << text;
    }
}

} // namespace
} // namespace llm
