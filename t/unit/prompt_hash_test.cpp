#include "core/request/prompt_hash.h"

#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>
#include <string>

using namespace llm;

namespace {

prompt_hash hashed(std::string_view body, size_t piece = SIZE_MAX)
{
    prompt_hash h{};
    for (; !body.empty(); body.remove_prefix(std::min(piece, body.size()))) {
        h.feed(body.substr(0, piece));
    }
    return h;
}

uint64_t value(std::string_view body, std::string_view model = "m")
{
    return hashed(body).value(model);
}

// A chat of this many bytes of text.
std::string chat(size_t bytes, std::string_view end = "", char fill = 'x')
{
    return R"({"model":"m","messages":[{"role":"user","content":")" + std::string(bytes, fill)
           + std::string(end) + "\"}]}";
}

} // namespace

TEST(prompt_hash, is_the_same_however_the_json_is_spaced)
{
    const uint64_t want = value(R"({"messages":[{"role":"user","content":"a b\"c\\"}],"tools":[1,true]})");
    for (
        const char* body : {
            "{ \"messages\" : [ { \"role\" : \"user\" ,\n\t\"content\":\"a b\\\"c\\\\\" } ] , \"tools\":[ 1 "
            ", true ] }\n",
            R"({"temperature":0.5,"messages":[{"role":"user","content":"a b\"c\\"}],"stream":true,"tools":[1,true],"user":"u"})",
            R"({"metadata":{"messages":[1],"x":"}"},"messages":[{"role":"user","content":"a b\"c\\"}],"tools":[1,true]})",
        }) {
        EXPECT_EQ(value(body), want) << body;
    }
    for (const char* body : {
             R"({"messages":[{"role":"user","content":"ab\"c\\"}],"tools":[1,true]})",
             R"({"messages":[{"role":"user","content":"a  b\"c\\"}],"tools":[1,true]})",
             R"({"messages":[{"role":"user","content":"a b\"c\\"}],"tools":[1,false]})",
             R"({"messages":[{"role":"user","content":"a b\"c\\"}],"system":[1,true]})",
             R"({"tools":[1,true],"messages":[{"role":"user","content":"a b\"c\\"}]})",
         }) {
        EXPECT_NE(value(body), want) << body;
    }
}

TEST(prompt_hash, is_the_same_in_any_pieces)
{
    const std::string body =
        R"({"a":"\\\"","messages":[{"content":"x\u00e9\n\\"}, 1.5e3], "b\"":{"messages":2},"prompt":")"
        + std::string(3000, 'y') + R"(","system" : null})";
    const uint64_t want = value(body);
    for (size_t piece = 1; piece < 40; piece++) {
        EXPECT_EQ(hashed(body, piece).value("m"), want) << piece;
    }
    EXPECT_EQ(hashed(body, 1).noted().size(), 2u);
}

TEST(prompt_hash, is_of_the_model)
{
    std::set<uint64_t> all;
    for (const char* model : {"", "m", "n", "m2"}) {
        all.insert(value(chat(10), model));
        all.insert(value(chat(5000), model));
    }
    EXPECT_EQ(all.size(), 8u);
}

TEST(prompt_hash, there_is_none_without_a_prompt)
{
    for (const char* body : {"", "{}", R"({"model":"m","stream":true})", R"({"a":{"prompt":"x"}})",
                             R"({"mess":"x","Messages":[]})"}) {
        EXPECT_FALSE(hashed(body).any()) << body;
    }
    EXPECT_TRUE(hashed(R"({"input":"x"})").any());
}

TEST(prompt_hash, is_of_the_start_up_to_the_last_boundary)
{
    // What differs behind the last boundary makes no difference, what differs before it does.
    for (const uint32_t boundary : prompt_hash::boundaries) {
        const size_t text = boundary - 20;
        EXPECT_EQ(value(chat(boundary, "one")), value(chat(boundary, "two"))) << boundary;
        EXPECT_NE(value(chat(text - 60, "one" + std::string(100, 'x'))),
                  value(chat(text - 60, "two" + std::string(100, 'x'))));
        EXPECT_EQ(value(chat(boundary, "one")), value(chat(boundary, std::string(300, 'z'))));
    }
    // A longer prompt that begins alike has noted the same.
    const prompt_hash longest = hashed(chat(600 << 10));
    ASSERT_EQ(longest.noted().size(), prompt_hash::boundaries.size());
    for (size_t i = 0; i < prompt_hash::boundaries.size(); i++) {
        const prompt_hash shorter = hashed(chat(prompt_hash::boundaries[i]));
        ASSERT_EQ(shorter.noted().size(), i + 1);
        EXPECT_EQ(shorter.noted()[i], longest.noted()[i]);
    }
    EXPECT_EQ(value(chat(600 << 10)), value(chat(700 << 10)));
    // Shorter than the first, it is of all.
    EXPECT_NE(value(chat(500, "one")), value(chat(500, "two")));
    EXPECT_NE(value(chat(7)), value(chat(8)));
}

TEST(prompt_hash, spreads_evenly)
{
    std::map<uint64_t, int> low, high;
    std::set<uint64_t> all;
    constexpr int many = 16000;
    for (int i = 0; i < many; i++) {
        const uint64_t h = value(chat(2000, "", 'a').replace(70, 8, std::to_string(10000000 + i)));
        low[h % 16]++;
        high[h >> 60]++;
        all.insert(h);
    }
    EXPECT_EQ(all.size(), static_cast<size_t>(many));
    for (const auto* buckets : {&low, &high}) {
        EXPECT_EQ(buckets->size(), 16u);
        for (const auto& [bucket, n] : *buckets) {
            EXPECT_NEAR(n, many / 16, 200);
        }
    }
}

TEST(prompt_hash, takes_any_bytes)
{
    std::minstd_rand random(1);
    constexpr std::string_view some = "{}[]\",:\\ mesagptyx\n\xff";
    for (int i = 0; i < 20000; i++) {
        std::string body = "{\"messages\":";
        for (size_t n = random() % 60; n != 0; n--) {
            body += some[random() % some.size()];
        }
        const size_t piece = 1 + random() % 9;
        EXPECT_EQ(hashed(body, piece).value("m"), value(body)) << body;
    }
}
