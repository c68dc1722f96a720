#include "core/request/request_facts.h"

#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

// "name=value " of each member, as they are in the body; "..." where not all are kept.
std::string members(std::string_view body, size_t room = body_members::usual)
{
    std::string first;
    bool is_first = true;
    every_way(body, [&](const auto& pieces) {
        std::vector<body_member> memory(room);
        request_facts facts;
        facts.keep_members(memory);
        for (const std::string_view piece : pieces)
            facts.feed(piece);
        ASSERT_EQ(facts.finish(), body_fault::none);
        std::string told;
        for (const body_member& m : facts.members().kept())
            told += std::string(body.substr(m.name.begin, m.name.size())) + "="
                    + std::string(body.substr(m.value.begin, m.value.size())) + " ";
        told += facts.members().all_kept() ? "" : "...";
        if (is_first)
            first = told;
        is_first = false;
        ASSERT_EQ(told, first) << "first piece " << pieces[0];
    });
    return first;
}

TEST(body_members, are_those_of_the_root)
{
    EXPECT_EQ(members("{}"), "");
    EXPECT_EQ(
        members(R"({"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"x":1})"),
        R"("model"="m" "messages"=[{"role":"user","content":[{"type":"text","text":"a"}]}] "x"=1 )");
    EXPECT_EQ(
        members(
            R"({"a":{"model":{"a":[]}},"options":{"num_predict":5,"x":{}},"stream_options":{"include_usage":true}})"),
        R"("a"={"model":{"a":[]}} "options"={"num_predict":5,"x":{}} "stream_options"={"include_usage":true} )");
    EXPECT_EQ(
        members(
            R"({"prompt":["a",[1]],"images":["QUFB"],"contents":[{"parts":[{"inlineData":{"data":""}}]}],"input":"x"})"),
        R"("prompt"=["a",[1]] "images"=["QUFB"] "contents"=[{"parts":[{"inlineData":{"data":""}}]}] "input"="x" )");
}

TEST(body_members, are_kept_as_they_are_written)
{
    EXPECT_EQ(
        members("\n { \"m\\u006fdel\" :\t\"a\\\"b\"\r\n, \"x\\\"\\n\"\t:-1.5e3 ,\"\":null,\"y\" : [ 1 , 2 ] "
                ",\"z\": { } , \"t\":true }\n"),
        "\"m\\u006fdel\"=\"a\\\"b\" \"x\\\"\\n\"=-1.5e3 \"\"=null \"y\"=[ 1 , 2 ] \"z\"={ } \"t\"=true ");
    const std::string longest(300, 'n');
    EXPECT_EQ(
        members("{\"" + longest + "\":\"" + longest + "\\n\",\"model\":\"" + std::string(200, 'm') + "\"}"),
        "\"" + longest + "\"=\"" + longest + "\\n\" \"model\"=\"" + std::string(200, 'm') + "\" ");
    EXPECT_EQ(members(R"({"x":1,"x":2,"y\u0000":3})"), R"("x"=1 "x"=2 "y\u0000"=3 )");
}

TEST(body_members, are_bounded)
{
    EXPECT_EQ(members(R"({"a":1,"b":{"c":2}})", 2), R"("a"=1 "b"={"c":2} )");
    EXPECT_EQ(members(R"({"a":1,"b":{"c":2},"d":{"e":[]}})", 2), R"("a"=1 "b"={"c":2} ...)");
    EXPECT_EQ(members(R"({"a":1,"messages":[{}]})", 1), R"("a"=1 ...)");
}

TEST(body_members, change_nothing_else)
{
    body_member memory[2];
    request_facts facts;
    facts.keep_members(memory);
    facts.feed(R"({"model":"m","x":1,"y":2,"stream":true,"max_tokens":5,"prompt":["a","b"],"n":3})");
    EXPECT_EQ(facts.finish(), body_fault::none);
    EXPECT_EQ(facts.model(), "m");
    EXPECT_TRUE(facts.surely_streams());
    EXPECT_EQ(facts.max_tokens().value, 5u);
    EXPECT_EQ(facts.prompts(), 2u);
    EXPECT_EQ(facts.choices(), 3u);
    EXPECT_EQ(facts.members().kept().size(), 2u);
    EXPECT_FALSE(facts.members().all_kept());
}

} // namespace
