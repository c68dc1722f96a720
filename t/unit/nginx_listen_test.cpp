#include "ctl/nginx_listen.h"

#include <gtest/gtest.h>

namespace llm::ctl {
namespace {

nginx_conf conf_of(std::string_view text)
{
    return nginx_conf::of_dump("# configuration file /etc/nginx/nginx.conf:\n" + std::string(text) + "\n");
}

TEST(nginx_listen, addresses)
{
    const auto address = [](std::string_view text) {
        return address_of(conf_of("server {" + std::string(text) + "}").top()[0]);
    };
    EXPECT_EQ(address("listen 8080;"), "http://127.0.0.1:8080");
    EXPECT_EQ(address("listen 80 default_server;"), "http://127.0.0.1");
    EXPECT_EQ(address("listen 10.1.2.3;"), "http://10.1.2.3");
    EXPECT_EQ(address("listen 10.1.2.3:81;"), "http://10.1.2.3:81");
    EXPECT_EQ(address("listen [::]:81;"), "http://[::1]:81");
    EXPECT_EQ(address("listen [fd00::1];"), "http://[fd00::1]");
    EXPECT_EQ(address("listen *:443 ssl; server_name llm.example.com;"), "https://llm.example.com");
    EXPECT_EQ(address("listen 8443 ssl; server_name _;"), "https://127.0.0.1:8443");
    EXPECT_EQ(address("listen 443 ssl; listen 8080; server_name a;"), "http://127.0.0.1:8080");
    EXPECT_EQ(address("listen unix:/run/x.sock;"), "");
    EXPECT_EQ(address(""), "http://127.0.0.1"); // nginx's default
}

// The way to the server that has "llm" in it, of all in the text; "none" if there is none.
std::string way(std::string_view text)
{
    const nginx_conf conf = conf_of(text);
    std::vector<const directive*> servers;
    const directive* mine = nullptr;
    for (const directive& each : conf.top()) {
        servers.push_back(&each);
        for (const directive& one : each.block) {
            mine = one.words[0] == "llm" ? &each : mine;
        }
    }
    const auto found = find_way(servers, *mine);
    std::string line;
    for (const std::string& option : found ? found->options : std::vector<std::string>{"none"}) {
        line += option + ' ';
    }
    return line + (found ? found->url : "");
}

TEST(nginx_listen, the_way_to_a_server)
{
    EXPECT_EQ(way("server { listen 8080; llm; }"), "http://127.0.0.1:8080");
    EXPECT_EQ(way("server { llm; }"), "http://127.0.0.1");
    EXPECT_EQ(way("server { listen 443 ssl; listen 81; llm; }"), "http://127.0.0.1:81");
    // One that is not the default at its port is found by its name only.
    EXPECT_EQ(way("server { listen 80; } server { listen 80; server_name a.example.com; llm; }"),
              "--resolve a.example.com:80:127.0.0.1 http://a.example.com");
    EXPECT_EQ(way("server { listen 80; } server { listen 80 default_server; server_name a; llm; }"),
              "http://127.0.0.1");
    EXPECT_EQ(way("server { listen 8080; server_name a; llm; } server { listen 8080; server_name b; }"),
              "http://127.0.0.1:8080");
    EXPECT_EQ(way("server { listen 80; server_name *.example.com; } server { listen 80; server_name _ "
                  ".example.com; llm; }"),
              "--resolve example.com:80:127.0.0.1 http://example.com");
    EXPECT_EQ(way("server { listen 80; } server { listen 80; server_name *.example.com; llm; }"),
              "--resolve llm.example.com:80:127.0.0.1 http://llm.example.com");
    EXPECT_EQ(way("server { listen 80; } server { listen 80; server_name ~^ai; llm; }"), "none ");
    EXPECT_EQ(way("server { listen 80; server_name a; } server { listen 80; server_name a; llm; }"), "none ");
    // One that is also at a port of its own.
    EXPECT_EQ(way("server { listen 80; } server { listen 80; listen 81; llm; }"), "http://127.0.0.1:81");
    // An address comes before all addresses.
    EXPECT_EQ(way("server { listen 127.0.0.1:80; } server { listen 80; llm; }"), "none ");
    EXPECT_EQ(way("server { listen 10.0.0.1:80; } server { listen 80; llm; }"), "http://127.0.0.1");
    EXPECT_EQ(way("server { listen 80; server_name 127.0.0.1; } server { listen 80 default_server; "
                  "server_name a; llm; }"),
              "--resolve a:80:127.0.0.1 http://a");
    // A certificate is for a name.
    EXPECT_EQ(way("server { listen 443 ssl; server_name a.example.com; llm; }"),
              "--resolve a.example.com:443:127.0.0.1 https://a.example.com");
    EXPECT_EQ(way("server { listen [::]:8443 ssl; server_name a; llm; }"),
              "--resolve a:8443:[::1] https://a:8443");
    EXPECT_EQ(way("server { listen 8443; ssl on; server_name _; llm; }"), "-k https://127.0.0.1:8443");
    EXPECT_EQ(way("server { listen unix:/run/a.sock; llm; }"), "--unix-socket /run/a.sock http://localhost");
    EXPECT_EQ(way("server { listen unix:/run/a.sock; listen 443 ssl; server_name a; llm; }"),
              "--resolve a:443:127.0.0.1 https://a");
    // What curl does not speak to without more.
    EXPECT_EQ(way("server { listen 443 quic; listen 80 proxy_protocol; llm; }"), "none ");
}

} // namespace
} // namespace llm::ctl
