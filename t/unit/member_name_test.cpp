#include "core/request/member_name.h"

#include <gtest/gtest.h>

#include <string>

using namespace llm;

namespace {

name_match match(std::string_view raw, std::string_view name, bool two_spellings = false)
{
    return member_name(raw).match(name, two_spellings);
}

TEST(member_name, exact)
{
    for (const char* raw : {"max_tokens", R"(max\u005ftokens)", R"(\u006d\u0061x_token\u0073)"})
        EXPECT_EQ(match(raw, "max_tokens"), name_match::exact) << raw;
    EXPECT_EQ(match("a/b", "a/b"), name_match::exact);
    EXPECT_EQ(match(R"(a\/b)", "a/b"), name_match::exact);
}

TEST(member_name, doubtful)
{
    for (const char* raw :
         {"Top_k", "TOP_K", R"(top_\u004b)", "top_\u212a", R"(top_\u212a)", R"(top_k\u0000)",
          R"(top_k\u0000x)", R"(\ud800top_k)", R"(top_k\udc00)", R"(to\ud83dp_k)", R"(t\ud800\u006fp_k)"})
        EXPECT_EQ(match(raw, "top_k"), name_match::doubtful) << raw;
    EXPECT_EQ(match("\u017feed", "seed"), name_match::doubtful);
}

TEST(member_name, other)
{
    for (const char* raw : {"", "top", "top_kk", "t\u00f6p_k", R"(top_k\ud83d\ude00)", R"(\u0000top_k)",
                            R"(top_k\n)", "top_k ", "topK", "t_op_k"})
        EXPECT_EQ(match(raw, "top_k"), name_match::no) << raw;
    EXPECT_EQ(match(std::string(member_name::max_escaped, 'x'), "x"), name_match::no);
}

TEST(member_name, two_spellings)
{
    EXPECT_EQ(match("max_output_tokens", "maxOutputTokens", true), name_match::exact);
    EXPECT_EQ(match("maxOutputTokens", "max_output_tokens", true), name_match::exact);
    EXPECT_EQ(match(R"(max\u004futputTokens)", "max_output_tokens", true), name_match::exact);
    EXPECT_EQ(match("MaxOutputTokens", "max_output_tokens", true), name_match::doubtful);
    EXPECT_EQ(match("maxoutputtokens", "max_output_tokens", true), name_match::doubtful);
    EXPECT_EQ(match("max_output_token", "max_output_tokens", true), name_match::no);
    EXPECT_EQ(match("max_output_tokens", "maxOutputTokens"), name_match::no);
    EXPECT_EQ(match("", "a", true), name_match::no);
}

} // namespace
