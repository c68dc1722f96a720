#include "keys/request_rules.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

TEST(request_rules, values_of_a_configuration)
{
    using namespace std::string_view_literals;
    for (const std::string_view json : {"1", "-0.5e3", "true", "null", "\"a b\"", "[1,{\"a\":[]}]", "{}"})
        EXPECT_EQ(json_of_argument(json), json);
    EXPECT_EQ(json_of_argument("low"), "\"low\"");
    EXPECT_EQ(json_of_argument("org/model-1.5:free"), "\"org/model-1.5:free\"");
    for (const std::string_view other : {""sv, "True"sv, "None"sv, "on"sv, "01"sv, "1 2"sv, "[1"sv, "a b"sv,
                                         "1\0"sv, "\"a\"\0"sv, "a\0"sv, "{\"a\":1,\"a\":2}"sv})
        EXPECT_EQ(json_of_argument(other), std::nullopt) << other;
}

} // namespace
