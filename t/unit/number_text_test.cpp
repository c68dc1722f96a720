#include "core/base/number_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace {

using namespace llm;

std::string text_of(uint64_t number)
{
    char text[max_number + 1];
    text[max_number] = '#';
    char* const end = put_number(text, number);
    EXPECT_EQ(text[max_number], '#');
    return {text, end};
}

TEST(number_text, writes_every_length)
{
    EXPECT_EQ(text_of(0), "0");
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10) {
        for (const uint64_t number : {power - 1, power, power + 1, power * 9 + (power - 1)}) {
            EXPECT_EQ(text_of(number), std::to_string(number));
        }
    }
    EXPECT_EQ(text_of(UINT64_MAX), "18446744073709551615");
}

TEST(number_text, writes_every_group_of_four_digits)
{
    for (uint64_t number = 0; number < 10000; ++number) {
        ASSERT_EQ(text_of(number), std::to_string(number));
        ASSERT_EQ(text_of(number * 10000 + 10000), std::to_string(number * 10000 + 10000));
    }
}

TEST(number_text, writes_any_number)
{
    std::mt19937_64 random(1);
    for (int i = 0; i < 100000; ++i) {
        const uint64_t number = random() >> (random() % 64);
        ASSERT_EQ(text_of(number), std::to_string(number));
    }
}

} // namespace
