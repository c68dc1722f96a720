#include "ctl/nginx_location.h"

#include <gtest/gtest.h>

namespace llm::ctl {
namespace {

nginx_conf conf_of(std::string_view text)
{
    return nginx_conf::of_dump("# configuration file /etc/nginx/nginx.conf:\nserver {" + std::string(text)
                               + "}\n");
}

// The number behind `n` in the location that is found.
std::string found(std::string_view text, std::string_view path)
{
    const nginx_conf conf = conf_of(text);
    const conf_blocks blocks = find_location(conf.top()[0], path);
    const directive* number = in_force(blocks, "n");
    return blocks.empty() ? "none" : number ? number->words[1] : "no number";
}

TEST(nginx_location, is_chosen_as_nginx_does)
{
    constexpr std::string_view text = R"(
        location / { n 1; }
        location /v1/ { n 2; }
        location = /v1/exact { n 3; }
        location ^~ /v1/files/ { n 4; }
        location ~ ^/v1/(?:chat/completions|files/x)\z { n 5; }
        location ~* \.PHP$ { n 6; }
        location ~ ^/(?<a>openai)/(?P<b>\d+)$ { n 7; }
        location @named { n 8; }
        location /nested/ { n 9; location /nested/deep/ { n 10; } location ~ /deep/.*x$ { n 11; } }
        location ~ ^/(?!v1)never { n 12; }
    )";
    EXPECT_EQ(found(text, "/else"), "1");
    EXPECT_EQ(found(text, "/v1/models"), "2");
    EXPECT_EQ(found(text, "/v1/exact"), "3");
    EXPECT_EQ(found(text, "/v1/exact/"), "2");
    EXPECT_EQ(found(text, "/v1/files/x"), "4");
    EXPECT_EQ(found(text, "/v1/chat/completions"), "5");
    EXPECT_EQ(found(text, "/v1/chat/completions/"), "2");
    EXPECT_EQ(found(text, "/v1/files/a.php"), "4");
    EXPECT_EQ(found(text, "/v1/a.php"), "6");
    EXPECT_EQ(found(text, "/openai/17"), "7");
    EXPECT_EQ(found(text, "/openai/x"), "1");
    EXPECT_EQ(found(text, "@named"), "none");
    EXPECT_EQ(found(text, "/nested/a"), "9");
    EXPECT_EQ(found(text, "/nested/deep/a"), "10");
    EXPECT_EQ(found(text, "/nested/deep/x"), "11");
    EXPECT_EQ(found(text, "/never"), "1");
    EXPECT_EQ(found("location =/a { n 1; } location ~^/b { n 2; } location ^~/c/ { n 3; }", "/a"), "1");
    EXPECT_EQ(found("location =/a { n 1; } location ~^/b { n 2; } location ^~/c/ { n 3; }", "/bb"), "2");
    EXPECT_EQ(found("location =/a { n 1; } location ~^/b { n 2; } location ^~/c/ { n 3; }", "/c/d"), "3");
    EXPECT_EQ(found("location /a/ { }", "/b"), "none");
    EXPECT_EQ(found("n 1; location /a/ { }", "/a/"), "no number");
}

TEST(nginx_location, starts_of_paths)
{
    const nginx_conf conf = conf_of(R"(
        location ~ ^/ai/v1/(chat/completions|models)\z { } location = /v1/messages { } location /api/ { location ~ ^/api/v\.1/x?y { } }
        location ~ chat { } location ~ ^/(a|b)/ { } location @x { } location /api/ { } location ~ "^/n{2}" { })");
    EXPECT_EQ(path_starts(conf.top()[0]),
              (std::vector<std::string>{"/ai/v1/", "/v1/messages", "/api/", "/api/v.1/", "/"}));
}

} // namespace
} // namespace llm::ctl
