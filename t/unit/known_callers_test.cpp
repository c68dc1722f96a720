#include "core/shared/known_callers.h"

#include "core/base/siphash.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace llm {

namespace {

constexpr int64_t hour = 3'600'000;
constexpr int64_t now = 500'000 * hour;

uint64_t caller_number(size_t i)
{
    return siphash13({1, 2}, std::to_string(i)) | 1;
}

} // namespace

TEST(known_callers, knows_whom_it_has_seen)
{
    auto callers = std::make_unique<known_callers>();
    EXPECT_FALSE(callers->knows(caller_number(1), now));
    callers->note(caller_number(1), now);
    EXPECT_TRUE(callers->knows(caller_number(1), now));
    EXPECT_FALSE(callers->knows(caller_number(2), now));
}

TEST(known_callers, forgets_whom_it_has_not_seen_for_long)
{
    auto callers = std::make_unique<known_callers>();
    callers->note(caller_number(1), now);
    callers->note(caller_number(2), now);
    callers->note(caller_number(2), now + known_callers::lasts_hours * hour / 2);
    EXPECT_TRUE(callers->knows(caller_number(1), now + (known_callers::lasts_hours - 1) * hour));
    EXPECT_FALSE(callers->knows(caller_number(1), now + known_callers::lasts_hours * hour));
    EXPECT_TRUE(callers->knows(caller_number(2), now + known_callers::lasts_hours * hour));
    EXPECT_TRUE(callers->knows(caller_number(2), now - 1000 * hour)) << "the clock was set back";
}

TEST(known_callers, whoever_was_seen_last_stays)
{
    auto callers = std::make_unique<known_callers>();
    constexpr size_t room = known_callers::sets * known_callers::places;
    for (size_t i = 0; i < 20 * room; i++) {
        callers->note(caller_number(i), now + static_cast<int64_t>(i / room) * hour);
        ASSERT_TRUE(callers->knows(caller_number(i), now + static_cast<int64_t>(i / room) * hour));
        // One who comes again and again is not pushed out by others.
        if (i % known_callers::places == 0) {
            callers->note(0xabcdef0000000001, now + static_cast<int64_t>(i / room + 1) * hour);
        }
    }
    EXPECT_TRUE(callers->knows(0xabcdef0000000001, now + 20 * hour));
    size_t known = 0;
    for (size_t i = 0; i < 20 * room; i++) {
        known += callers->knows(caller_number(i), now + 20 * hour);
    }
    EXPECT_LE(known, room);
    EXPECT_GE(known, room * 8 / 10);
}

} // namespace llm
