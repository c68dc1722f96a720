// Why: a browser is to get the page, and a program the JSON that it has always got.

#include "core/base/accept.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace llm {
namespace {

unsigned quality(std::string_view type, std::initializer_list<std::string_view> headers)
{
    accept_match match(type);
    for (std::string_view h : headers) {
        match.add(h);
    }
    return match.quality();
}

bool prefers_page(std::initializer_list<std::string_view> headers)
{
    return quality("text/html", headers) > quality("application/json", headers);
}

TEST(accept, browsers_and_programs)
{
    EXPECT_TRUE(prefers_page({"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}));
    EXPECT_TRUE(prefers_page({"text/html"}));
    EXPECT_TRUE(prefers_page({"TEXT/HTML;q=0.2, application/json;q=0.1"}));
    EXPECT_FALSE(prefers_page({}));
    EXPECT_FALSE(prefers_page({"*/*"}));
    EXPECT_FALSE(prefers_page({""}));
    EXPECT_FALSE(prefers_page({"application/json"}));
    EXPECT_FALSE(prefers_page({"application/json, text/plain, */*"}));
    EXPECT_FALSE(prefers_page({"text/html;q=0.5, application/json"}));
    EXPECT_FALSE(prefers_page({"text/html, application/json"}));
}

TEST(accept, the_most_exact_range_counts)
{
    EXPECT_EQ(quality("text/html", {"*/*;q=0.1, text/*;q=0.2, text/html;q=0.3"}), 300u);
    EXPECT_EQ(quality("text/html", {"text/html;q=0.3, text/*;q=0.9, */*"}), 300u);
    EXPECT_EQ(quality("text/html", {"text/*;q=0.9, */*"}), 900u);
    EXPECT_EQ(quality("text/html", {"text/html;q=0, */*"}), 0u);
    EXPECT_EQ(quality("text/html", {"text/html;level=1;q=0.4", "text/html;q=0.6"}), 600u);
    EXPECT_EQ(quality("text/html", {"image/*, text/htm, text/html5, html, /html"}), 0u);
}

TEST(accept, blanks_quotes_and_mistakes)
{
    EXPECT_EQ(quality("text/html", {" ,, \ttext/html \t; q=0.25 ,"}), 250u);
    EXPECT_EQ(quality("text/html", {"a/b;x=\"text/html, c;q=1\", text/html;Q=0.125"}), 125u);
    EXPECT_EQ(quality("text/html", {"a/b;x=\"\\\", text/html\""}), 0u);
    for (std::string_view wrong : {"2", "1.1", "0,5", "0.1234", "-1", "", "0x", ".5", "1."}) {
        const std::string header = "text/html;q=" + std::string(wrong);
        EXPECT_EQ(quality("text/html", {header}), wrong == "1." ? 1000u : 0u) << header;
    }
    EXPECT_EQ(quality("text/html", {"text/html;q=9, */*;q=0.5"}), 500u);
}

} // namespace
} // namespace llm
