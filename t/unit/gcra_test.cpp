#include "core/base/siphash.h"
#include "core/limit/gcra.h"
#include "core/limit/quota.h"

#include <ctime>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

using namespace llm;

namespace {

constexpr uint64_t second = 1000000000;

} // namespace

TEST(gcra, lets_in_its_capacity_at_once_and_then_its_rate)
{
    gcra g = gcra::of({10, 1000}, 21);
    uint64_t tat = 0, now = 5 * second;
    auto take_all = [&] {
        int n = 0;
        for (; g.look(tat, now, 1).allowed; n++) {
            tat = gcra_take(tat, now, g.interval_ns, 1);
        }
        return n;
    };
    EXPECT_EQ(take_all(), 21);
    EXPECT_EQ(g.look(tat, now, 1).wait_ns, second / 10);
    EXPECT_EQ(g.look(tat, now, 5).wait_ns, second / 2);
    EXPECT_EQ(g.look(tat, now, 1).used_ns, 21 * second / 10);
    now += second / 10 - 1;
    EXPECT_EQ(take_all(), 0);
    now += 1;
    EXPECT_EQ(take_all(), 1);
    now += second;
    EXPECT_EQ(take_all(), 10);
    now += 3600 * second;
    EXPECT_EQ(take_all(), 21);
}

TEST(gcra, no_more_than_the_rate_in_a_long_time_whatever_the_rounding)
{
    for (uint64_t amount : {1u, 3u, 7u, 999u, 100001u}) {
        gcra g = gcra::of({amount, 1000}, 1);
        EXPECT_LE(1000 * second / g.interval_ns, 1000 * amount);
    }
    EXPECT_EQ(gcra::of({5000000000, 1000}, 1).interval_ns, 1u);
}

TEST(gcra, what_is_more_than_the_capacity_never_passes)
{
    gcra g = gcra::of({100, 60000}, 100);
    EXPECT_TRUE(g.look(0, second, 100).allowed);
    EXPECT_FALSE(g.look(0, second, 101).allowed);
    EXPECT_EQ(g.look(0, second, 101).wait_ns, forever);
    EXPECT_EQ(ms_of(forever), forever);
}

TEST(gcra, gives_back_and_owes_exactly)
{
    gcra g = gcra::of({1000, 1000}, 1000);
    uint64_t now = 9 * second;
    uint64_t tat = gcra_take(0, now, g.interval_ns, 600);
    EXPECT_EQ(g.remaining(g.look(tat, now, 0).used_ns), 400u);
    tat = gcra_give(tat, g.interval_ns, 500);
    EXPECT_EQ(g.remaining(g.look(tat, now, 0).used_ns), 900u);
    tat = gcra_owe(tat, g.interval_ns, 2900);
    EXPECT_EQ(g.remaining(g.look(tat, now, 0).used_ns), 0u);
    EXPECT_EQ(g.look(tat, now, 1).wait_ns, 2 * second + g.interval_ns);
    EXPECT_FALSE(g.look(tat, now + 2 * second, 1).allowed);
    EXPECT_TRUE(g.look(tat, now + 2 * second + g.interval_ns, 1).allowed);
}

TEST(gcra, a_clock_that_steps_back_lets_in_less)
{
    gcra g = gcra::of({10, 1000}, 2);
    uint64_t tat = gcra_take(0, 100 * second, g.interval_ns, 1);
    EXPECT_TRUE(g.look(tat, 100 * second, 1).allowed);
    EXPECT_FALSE(g.look(tat, 99 * second, 1).allowed);
    EXPECT_EQ(gcra_take(tat, 99 * second, g.interval_ns, 1), tat + g.interval_ns);
}

TEST(gcra, what_does_not_fit_is_for_ever)
{
    gcra g = gcra::of({1, 86400000}, UINT64_MAX);
    uint64_t tat = gcra_owe(second, g.interval_ns, UINT64_MAX);
    EXPECT_EQ(tat, forever);
    EXPECT_EQ(gcra_owe(tat, g.interval_ns, 1), forever);
    EXPECT_FALSE(gcra::of({1, 1000}, 5).look(tat, second, 1).allowed);
    EXPECT_EQ(gcra_give(5, g.interval_ns, UINT64_MAX), 0u);
    EXPECT_TRUE(g.look(0, 0, 1).allowed);
}

TEST(gcra, agrees_with_wide_numbers_to_the_edge_of_time)
{
    using wide = unsigned __int128;
    std::mt19937_64 random(5);
    auto any = [&] { return random() >> (random() % 64); };
    for (int i = 0; i < 200000; i++) {
        gcra g = gcra::of({any() | 1, any() >> 20 | 1}, any());
        uint64_t units = any() % g.capacity + (random() % 2);
        uint64_t now = any(), tat = any();
        wide used = tat > now ? tat - now : 0;
        wide room = std::min<wide>(wide{g.capacity} * g.interval_ns, forever);
        wide cost = std::min<wide>(wide{units} * g.interval_ns, forever);
        gcra::view seen = g.look(tat, now, units);
        ASSERT_EQ(seen.allowed, used + cost <= room);
        ASSERT_EQ(seen.allowed, g.allows(tat, now, units));
        ASSERT_EQ(seen.used_ns, static_cast<uint64_t>(used));
        ASSERT_EQ(seen.after_ns, static_cast<uint64_t>(std::min<wide>(used + cost, forever)));
        wide wait = seen.allowed ? wide{0} : cost > room ? wide{forever} : used + cost - room;
        ASSERT_EQ(seen.wait_ns, static_cast<uint64_t>(wait));
        ASSERT_EQ(g.remaining(seen.used_ns),
                  static_cast<uint64_t>(used < room ? (room - used) / g.interval_ns : 0));
    }
    EXPECT_FALSE(gcra::of({}, 7).limits());
}

TEST(quota, windows_are_those_of_the_calendar)
{
    // Every day of two centuries' worth of months, by the C library.
    for (int64_t day = 0; day < 49000; day++) {
        time_t t = day * 86400 + 3600 * (day % 24) + 61;
        tm date;
        gmtime_r(&t, &date);
        uint32_t hour = hour_of(t * 1000);
        ASSERT_EQ(hour, static_cast<uint32_t>(t / 3600));
        ASSERT_EQ(quota_end(quota_window::hour, hour), hour + 1);
        ASSERT_EQ(quota_end(quota_window::day, hour), (day + 1) * 24);
        ASSERT_EQ(quota_end(quota_window::week, hour), (day + 7 - (date.tm_wday + 6) % 7) * 24);
        date.tm_mon++;
        date.tm_mday = 1;
        date.tm_hour = date.tm_min = date.tm_sec = 0;
        ASSERT_EQ(quota_end(quota_window::month, hour), static_cast<uint32_t>(timegm(&date) / 3600));
        for (auto w : {quota_window::hour, quota_window::day, quota_window::week, quota_window::month}) {
            uint32_t end = quota_end(w, hour);
            ASSERT_EQ(quota_period(w, end - 1), quota_period(w, hour));
            ASSERT_EQ(quota_period(w, end), quota_period(w, hour) + 1);
        }
    }
    EXPECT_EQ(quota_period(quota_window::total, 0), quota_period(quota_window::total, UINT32_MAX));
    EXPECT_EQ(hour_of(-5), 0u);
    EXPECT_EQ(hour_of(INT64_MAX), UINT32_MAX / 3600);
}

// What CPython 3.11 gives for bytes with PYTHONHASHSEED=0.
TEST(siphash, agrees_with_another_implementation)
{
    EXPECT_EQ(siphash13({0, 0}, "a"), 0x407448d2b89b1813u);
    EXPECT_EQ(siphash13({0, 0}, "abc"), 0xc03bc3a0042630f2u);
    EXPECT_EQ(siphash13({0, 0}, "abcd"), 0xe3d1d5fdd52aae89u);
    EXPECT_EQ(siphash13({0, 0}, "abcde"), 0x251f3c725bd784a2u);
    EXPECT_EQ(siphash13({0, 0}, "abcdefg"), 0x6db12aae9070f506u);
    EXPECT_EQ(siphash13({0, 0}, "abcdefghi"), 0xf89b34a3d11eb6e5u);
    EXPECT_EQ(siphash13({0, 0}, "abcdefghijklmno"), 0x1fd27a29b0e9dc7au);
    EXPECT_EQ(siphash13({0, 0}, "abcdefgh"), 0x3f7b849c0b8e35eau);
    EXPECT_EQ(siphash13({0, 0}, "the quick brown fox jumps over"), 0xad7dbf39b6f5e689u);
}

TEST(siphash, spreads_and_depends_on_its_key)
{
    std::mt19937_64 random(7);
    std::vector<uint64_t> seen;
    std::string text(33, 'a');
    for (size_t n = 0; n <= text.size(); n++) {
        seen.push_back(siphash13({1, 2}, std::string_view(text).substr(0, n)));
        seen.push_back(siphash13({1, 3}, std::string_view(text).substr(0, n)));
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end());
    int flipped = 0;
    for (int i = 0; i < 1000; i++) {
        hash_key key{random(), random()};
        uint64_t before = siphash13(key, text);
        size_t at = random() % text.size();
        text[at] ^= static_cast<char>(1 << random() % 8);
        flipped += std::popcount(before ^ siphash13(key, text));
    }
    EXPECT_NEAR(flipped, 32000, 600);
}
