#include "ctl/nginx_conf.h"

#include <gtest/gtest.h>

namespace llm::ctl {
namespace {

nginx_conf conf_of(std::string_view text)
{
    return nginx_conf::of_dump("# configuration file /etc/nginx/nginx.conf:\n" + std::string(text) + "\n");
}

TEST(nginx_conf, words_and_blocks)
{
    const nginx_conf conf = conf_of(R"(a 1;# a comment; {
        b "x ; y" 'it''s' c\ d;
        log "a\"b" \.php$;
        server { listen 80; location ~ "^/v1/(a|b){1}\z" { return 200 "{}"; } set $x ${y}z; }
        content_by_lua_block { if x then y = {} end }
        last;)");
    ASSERT_GE(conf.top().size(), 6u);
    EXPECT_EQ(conf.top()[0].words, (std::vector<std::string>{"a", "1"}));
    EXPECT_EQ(conf.top()[1].words[1], "x ; y");
    EXPECT_EQ(conf.top()[2].words, (std::vector<std::string>{"log", "a\"b", "\\.php$"}));
    const directive& server = conf.top()[3];
    EXPECT_EQ(server.block[0].words[1], "80");
    EXPECT_EQ(server.block.back().words, (std::vector<std::string>{"set", "$x", "${y}z"}));
}

TEST(nginx_conf, included_files_are_in_their_place)
{
    const nginx_conf conf = nginx_conf::of_dump(
        "# configuration file /etc/nginx/nginx.conf:\nhttp { include conf.d/*.conf; include /opt/x/y; "
        "include nothing/*; }\n"
        "# configuration file /etc/nginx/conf.d/a.conf:\nserver { listen 1; include snippets/keys; }\n"
        "# configuration file /etc/nginx/snippets/keys:\nllm_api_keys llm/keys.json zone=a;\n"
        "# configuration file /etc/nginx/conf.d/b.conf:\nserver { listen 2; llm_api_keys off; }\n"
        "# configuration file /opt/x/y:\nllm_zone a:1m \"state=/var/lib/s.db\";\nllm_api_keys "
        "/etc/nginx/llm/keys.json;\n");
    EXPECT_EQ(key_files_of(conf), std::vector<std::string>{"/etc/nginx/llm/keys.json"});
    EXPECT_EQ(state_files_of(conf), std::vector<std::string>{"/var/lib/s.db"});
    std::vector<std::string> listens;
    conf.each("listen", [&](const directive& found, auto in) {
        EXPECT_EQ(in.size(), 2u);
        EXPECT_EQ(in[0]->words[0], "http");
        EXPECT_EQ(in[1]->words[0], "server");
        listens.push_back(found.words[1]);
    });
    EXPECT_EQ(listens, (std::vector<std::string>{"1", "2"}));
}

TEST(nginx_conf, includes_that_go_round_end)
{
    const nginx_conf conf = conf_of("a; include nginx.conf; include /etc/nginx/*.conf;");
    EXPECT_EQ(conf.top()[0].words[0], "a");
}

TEST(nginx_conf, any_text_is_read)
{
    const std::string text = "http { server { listen 80; a \"b\\\"c\" 'd'; x_by_lua_block { { } } } # e\n }";
    for (size_t n = 0; n <= text.size(); n++) {
        conf_of(text.substr(0, n));
        conf_of(text.substr(n) + text.substr(0, n));
    }
    conf_of(std::string(1000000, '{'));
    conf_of("a" + std::string(1000000, '{'));
}

} // namespace
} // namespace llm::ctl
