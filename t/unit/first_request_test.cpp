#include "ctl/first_request.h"

#include <gtest/gtest.h>

namespace llm::ctl {
namespace {

key_record key_called(std::string name, bool has_secret)
{
    key_record key;
    key.name = std::move(name);
    key.digests.resize(has_secret ? 1 : 0);
    return key;
}

std::string line(std::string_view text, const key_record& key = key_called("alice", true),
                 std::vector<std::string> models = {})
{
    const nginx_conf conf = nginx_conf::of_dump("# configuration file /etc/nginx/nginx.conf:\nhttp {"
                                                + std::string(text) + "}\n");
    key_policy policy;
    policy.models = std::move(models);
    return curl_line(&conf, "/etc/nginx/keys.json", key, policy);
}

// What is asked, without the body.
std::string asks(std::string_view text)
{
    const std::string all = line(text);
    return all.substr(0, all.find(" -H 'Content-Type"));
}

constexpr std::string_view bearer = " -H \"Authorization: Bearer $KEY\"";

std::string chat_at(std::string_view address)
{
    return "curl " + std::string(address) + std::string(bearer);
}

TEST(first_request, the_api_that_a_location_has)
{
    EXPECT_EQ(asks("llm_api_keys keys.json; server { listen 8080; location /v1/ { proxy_pass http://x; } }"),
              chat_at("http://127.0.0.1:8080/v1/chat/completions"));
    EXPECT_EQ(
        asks(
            "llm_api_keys keys.json; server { listen 81; location = /v1/messages { proxy_pass http://x; } }"),
        "curl http://127.0.0.1:81/v1/messages -H \"x-api-key: $KEY\" -H 'anthropic-version: 2023-06-01'");
    EXPECT_EQ(asks("llm_api_keys keys.json; server { location /api/ { proxy_pass http://x; } }"),
              chat_at("http://127.0.0.1/api/v1/chat/completions"))
        << "a path below which anything may be";
    EXPECT_EQ(
        asks(R"(llm_api_keys keys.json; server { location ~ ^/api/(chat|tags)\z { proxy_pass http://x; } })"),
        chat_at("http://127.0.0.1/api/chat"));
    EXPECT_EQ(
        asks(
            R"(llm_api_keys keys.json; server { location ~ ^/ai/v1/(responses|models)\z { proxy_pass http://x; } })"),
        chat_at("http://127.0.0.1/ai/v1/responses"));
    EXPECT_EQ(
        asks(
            R"(llm_api_keys keys.json; server { location ~ ^/openai/deployments/([A-Za-z0-9._-]+)/chat/completions\z { proxy_pass http://x; } })"),
        "curl 'http://127.0.0.1/openai/deployments/MODEL/chat/completions?api-version=2024-10-21' -H "
        "\"api-key: $KEY\"");
    EXPECT_EQ(
        asks(
            R"(llm_api_keys keys.json; server { location ~ ^/v1beta/models/[^/]+:(generateContent)\z { proxy_pass http://x; } })"),
        "curl http://127.0.0.1/v1beta/models/MODEL:generateContent -H \"x-goog-api-key: $KEY\"");
    // Nothing but what tells the owner of a key about it.
    EXPECT_EQ(asks("llm_api_keys keys.json; server { location = /v1/usage { llm_usage; } }"),
              chat_at("http://127.0.0.1/v1/usage"));
    // Nothing at all.
    EXPECT_EQ(asks(""), chat_at("http://127.0.0.1:8080/v1/chat/completions"));
    EXPECT_EQ(asks("llm_api_keys keys.json; server { listen 81; location /v1/ { return 403; proxy_pass "
                   "http://x; } }"),
              chat_at("http://127.0.0.1:8080/v1/chat/completions"));
}

TEST(first_request, where_these_keys_are_in_force)
{
    constexpr std::string_view two = R"(
        server { listen 8080; location /v1/ { proxy_pass http://x; } }
        server { listen 8081; llm_api_keys other.json; location /v1/ { proxy_pass http://x; } }
        server { listen 8082; llm_api_keys keys.json; location /v1/ { llm_api_keys off; proxy_pass http://x; }
                 location = /v1/chat/completions { proxy_pass http://x; } })";
    EXPECT_EQ(asks(two), chat_at("http://127.0.0.1:8082/v1/chat/completions"));
    EXPECT_EQ(asks("server { listen 8081; llm_api_keys other.json; location /v1/ { proxy_pass http://x; } }"),
              chat_at("http://127.0.0.1:8081/v1/chat/completions"))
        << "by another path, it may be the same file";
    EXPECT_EQ(asks("server { listen 80; } server { listen 80; server_name a.example.com; llm_api_keys "
                   "keys.json; location / { proxy_pass http://x; } }"),
              "curl --resolve a.example.com:80:127.0.0.1 http://a.example.com/v1/chat/completions"
                  + std::string(bearer));
}

TEST(first_request, beside_a_password)
{
    EXPECT_EQ(asks("llm_api_keys keys.json; server { auth_basic x; location /v1/ { proxy_pass http://x; } }"),
              "curl http://127.0.0.1/v1/chat/completions -u alice -H \"x-api-key: $KEY\"");
    for (const char* off : {"off", "$realm"}) {
        EXPECT_EQ(asks("llm_api_keys keys.json; auth_basic x; server { location /v1/ { auth_basic "
                       + std::string(off) + "; proxy_pass http://x; } }"),
                  chat_at("http://127.0.0.1/v1/chat/completions"));
    }
}

TEST(first_request, models)
{
    constexpr std::string_view all = R"(llm_api_keys keys.json;
        server { llm_model bge-m3 completion=0; llm_model gpt-* to=a; llm_model qwen3-32b to=a; llm_model small to=a;
                 location / { proxy_pass http://x; } })";
    const auto model = [&](std::vector<std::string> models) {
        const std::string text = line(all, key_called("alice", true), std::move(models));
        const size_t at = text.find("\"model\": \"") + 10;
        return text.substr(at, text.find('"', at) - at);
    };
    EXPECT_EQ(model({}), "qwen3-32b");
    EXPECT_EQ(model({"sm*"}), "small");
    EXPECT_EQ(model({"llama", "gpt-4o"}), "gpt-4o") << "the table has no llama";
    EXPECT_EQ(model({"llama*"}), "MODEL");
    EXPECT_EQ(model({"bge-m3"}), "bge-m3");
}

TEST(first_request, keys_without_a_secret)
{
    const auto with = [](std::string identity, std::string name) {
        const std::string text =
            line("llm_api_keys keys.json " + identity + "; server { location /v1/ { proxy_pass http://x; } }",
                 key_called(std::move(name), false));
        return text.substr(0, text.find(" -H 'Content-Type"));
    };
    EXPECT_EQ(with("identity=guest", "guest"), "curl http://127.0.0.1/v1/chat/completions");
    EXPECT_EQ(with("identity=guest", "alice"), "");
    EXPECT_EQ(with("identity=$remote_user", "it's me"),
              "curl http://127.0.0.1/v1/chat/completions -u 'it'\\''s me'");
    EXPECT_EQ(with("identity=$person", "alice"), "");
}

} // namespace
} // namespace llm::ctl
