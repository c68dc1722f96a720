#include "core/json/number_order.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>

using namespace llm;

namespace {

TEST(number_order, in_order)
{
    const char* const groups[][5] = {
        {"-Infinity"},
        {"-1e400"},
        {"-11"},
        {"-1.5", "-15e-1"},
        {"-0.001", "-1E-3"},
        {"0", "-0", "0.0", "0e5", "-0.00e-9"},
        {"1e-400"},
        {"0.05", "5e-2", "0.0500"},
        {"0.5"},
        {"1", "1.0", "10e-1", "0.1e1", "1E+0"},
        {"1.00000000000000000000001"},
        {"9", "0.9e1"},
        {"10", "1e1"},
        {"123.4", "1234e-1"},
        {"4096", "4.096e3"},
        {"9007199254740993"},
        {"9007199254740994"},
        {"1e999999999999"},
        {"Infinity"},
    };
    for (size_t i = 0; i < std::size(groups); ++i)
        for (size_t j = 0; j < std::size(groups); ++j)
            for (const char* a : groups[i])
                for (const char* b : groups[j]) {
                    if (!a || !b)
                        continue;
                    const int order = compare_numbers(a, b);
                    EXPECT_EQ(order < 0, i < j) << a << ' ' << b;
                    EXPECT_EQ(order > 0, i > j) << a << ' ' << b;
                }
}

TEST(number_order, as_doubles)
{
    std::mt19937 random(7);
    const auto number = [&] {
        char text[40];
        const double value =
            std::ldexp(static_cast<double>(random() % 2001) - 1000, -static_cast<int>(random() % 12));
        snprintf(text, sizeof text, random() % 2 ? "%.15g" : "%.14e", value);
        return std::string(text);
    };
    for (int i = 0; i < 20000; ++i) {
        const std::string a = number();
        const std::string b = number();
        const double x = std::strtod(a.c_str(), nullptr);
        const double y = std::strtod(b.c_str(), nullptr);
        EXPECT_EQ(compare_numbers(a, b), x < y ? -1 : x > y ? 1 : 0) << a << ' ' << b;
    }
}

} // namespace
