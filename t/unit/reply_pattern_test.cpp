#include "core/reply/reply_pattern.h"

#include "core/reply/usage.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

using namespace llm;

std::string reply(const std::string& content, const std::string& usage, const std::string& behind = "")
{
    return R"({"id":"c1","created":17,"choices":[{"index":0,"message":{"role":"assistant","content":")"
           + content + R"("},"finish_reason":"stop"}],"usage":)" + usage + behind + "}";
}

std::string counts(int prompt, int completion, int cached)
{
    return R"({"prompt_tokens":)" + std::to_string(prompt) + R"(,"completion_tokens":)"
           + std::to_string(completion) + R"(,"prompt_tokens_details":{"cached_tokens":)"
           + std::to_string(cached) + "}}";
}

// Teaches by a reader, as the module does.
bool learns(usage_patterns& patterns, const std::string& text)
{
    usage_reader reader(reply_form::json, 1, strip_what::nothing, &patterns);
    reader.feed(text);
    reply_patterns::found found;
    return patterns.replies.match(text, found) && found.size == text.size();
}

TEST(reply_patterns, find_the_counts_wherever_they_stand)
{
    usage_patterns patterns;
    ASSERT_TRUE(learns(patterns, reply("a", counts(7, 1, 0))));

    const std::string other = reply(R"(so \"much\" \u4f60)" + std::string(5000, 'x'), counts(70, 123456, 64));
    reply_patterns::found found;
    ASSERT_TRUE(patterns.replies.match(other + "\n", found));
    EXPECT_EQ(found.size, other.size());
    EXPECT_TRUE(found.generates);
    EXPECT_EQ(found.usage[usage_field::prompt], 70u);
    EXPECT_EQ(found.usage[usage_field::completion], 123456u);
    EXPECT_EQ(found.usage[usage_field::cached], 64u);
}

TEST(reply_patterns, take_nothing_that_differs_elsewhere_or_is_not_valid)
{
    usage_patterns patterns;
    const std::string text = reply("a", counts(7, 1, 0));
    ASSERT_TRUE(learns(patterns, text));
    for (
        const std::string& other : {
            reply("", counts(7, 1, 0)),
            reply("\\x", counts(7, 1, 0)),
            reply("a\tb", counts(7, 1, 0)),
            reply("a\",\"usage\":\"", counts(7, 1, 0)),
            reply(
                "a",
                R"({"prompt_tokens":07,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}})"),
            reply(
                "a",
                R"({"prompt_tokens":-7,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}})"),
            reply(
                "a",
                R"({"prompt_tokens":7e1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}})"),
            reply(
                "a",
                R"({"prompt_tokens":null,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}})"),
            reply("a", "null"),
            reply("a", counts(7, 1, 0), R"(,"error":{})"),
            text.substr(0, text.size() - 1),
            text.substr(0, text.size() / 2),
            " " + text,
            std::string(),
        }) {
        reply_patterns::found found;
        EXPECT_FALSE(patterns.replies.match(other, found)) << other;
    }
}

TEST(reply_patterns, are_made_of_the_usual_form_only)
{
    for (const std::string& text : {
             reply("a", "null") + "}",
             reply("a", counts(7, 1, 0), R"(,"usage":null)"),
             reply("a", counts(7, 1, 0), R"(,"error":{"message":"x"})"),
             reply("a", counts(7, 1, 0), R"(,"status":"incomplete")"),
             reply("a", counts(7, 1, 0), R"(,"data":[1])"),
             reply("a", counts(7, 1, 0), R"(,"timings":{"prompt_n":1})"),
             reply("a", counts(7, 1, 0), R"(,"eval_count":1)"),
             reply("a", counts(7, 1, 0), R"(,"x":")" + std::string(3000, 'x') + '"'),
             reply("a", R"({"prompt_tokens":7.0})"),
             reply("a", R"({"prompt_tokens":9999999999})"),
             "[" + reply("a", counts(7, 1, 0)) + "]",
             std::string(R"({"choices":[]})"),
         }) {
        usage_patterns patterns;
        EXPECT_FALSE(learns(patterns, text)) << text;
    }
}

// A reply whose choice has this message.
std::string with_message(const std::string& message)
{
    return R"({"id":"c1","choices":[{"index":0,"message":)" + message
           + R"(,"finish_reason":"stop"}],"usage":)" + counts(7, 1, 0) + "}";
}

TEST(reply_patterns, keep_no_text_that_somebody_wrote)
{
    for (
        const std::string& text : {
            reply("secret", counts(7, 1, 0)),
            reply("secret", "null"),
            with_message(R"({"content":"secret","reasoning_content":"secret"})"),
            with_message(R"({"refusal":"secret"})"),
            with_message(R"({"audio":{"transcript":"secret","data":"secret"}})"),
            with_message(R"({"tool_calls":[{"id":"t","function":{"name":"secret","arguments":"{}"}}]})"),
            with_message(R"({"tool_calls":[{"id":"t","function":{"arguments":{"secret":1}}}]})"),
            with_message(R"({"content":["secret"]})"),
            with_message(R"({"content":"a"},"stop_reason":"secret")"),
            with_message(R"({"content":"a"},"logprobs":{"top_logprobs":[{"secret":-1}]})"),
            reply("a", counts(7, 1, 0), R"(,"metadata":{"model":"secret"})"),
            reply("a", counts(7, 1, 0), R"(,"created":"secret")"),
            reply("a", counts(7, 1, 0), R"(,"instructions":"secret")"),
            reply("a", R"({"prompt_tokens":7,"secret":{"x":1},"y":{"secret":1}})"),
            std::string(
                R"({"id":"e","content":[{"type":"thinking","thinking":"secret","signature":"secret"}],"usage":{"input_tokens":3,"output_tokens":4}})"),
            std::string(
                R"({"id":"e","content":[{"type":"tool_use","name":"secret","input":{"secret":1}}],"usage":{"input_tokens":3,"output_tokens":4}})"),
            std::string(
                R"({"id":"e","content":[],"stop_sequence":"secret","usage":{"input_tokens":3,"output_tokens":4}})"),
            std::string(
                R"({"model":"m","message":{"role":"assistant","content":"a","tool_calls":[{"function":{"name":"secret"}}]},"usage":{"prompt_tokens":3}})"),
            std::string(
                R"({"results":[{"document":{"text":"a","title":"secret"}}],"usage":{"total_tokens":3}})"),
        }) {
        usage_patterns patterns{}; // zeroed: what was on the stack is not its own
        for (int i = 0; i < 5; ++i) {
            learns(patterns, text);
            learns(patterns, reply("a", counts(7, 1, 0)));
        }
        const std::string_view memory(reinterpret_cast<const char*>(&patterns), sizeof patterns);
        EXPECT_NE(memory.find("choices"), std::string_view::npos);
        EXPECT_EQ(memory.find("secret"), std::string_view::npos) << text;
    }
}

// Without a pattern they would be read, which takes longer.
TEST(reply_patterns, are_made_of_what_servers_send)
{
    for (
        const std::string& text : {
            std::string(
                R"({"id":"chatcmpl-1","object":"chat.completion","created":17,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":[],"reasoning_content":null},"logprobs":null,"finish_reason":"stop","stop_reason":null}],"service_tier":"default","system_fingerprint":null,"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1,"prompt_tokens_details":null},"prompt_logprobs":null,"kv_transfer_params":null})"),
            std::string(
                R"({"id":"1","object":"chat.completion","created":17,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"stop","matched_stop":151645}],"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1,"prompt_tokens_details":null,"reasoning_tokens":0},"metadata":{"weight_version":"default"}})"),
            std::string(
                R"({"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"cache_creation":{"ephemeral_5m_input_tokens":0},"output_tokens":4,"service_tier":"standard"}})"),
        }) {
        usage_patterns patterns;
        EXPECT_TRUE(learns(patterns, text)) << text;
    }
}

TEST(reply_patterns, of_several_kinds_are_known_at_once)
{
    usage_patterns patterns;
    const std::vector<std::string> kinds = {
        reply("a", counts(7, 1, 0)),
        reply("b", counts(7, 1, 0), R"(,"service_tier":null)"),
        reply("c", counts(7, 1, 0), R"(,"prompt_logprobs":null)"),
        reply("d", R"({"prompt_tokens":7,"completion_tokens":8})"),
    };
    for (const std::string& text : kinds) {
        ASSERT_TRUE(learns(patterns, text));
    }
    for (const std::string& text : kinds) {
        reply_patterns::found found;
        EXPECT_TRUE(patterns.replies.match(text, found)) << text;
    }
}

// Else each reply would cost the search as well.
TEST(reply_patterns, are_looked_for_rarely_where_replies_are_all_different_and_again_once_they_are_not)
{
    usage_patterns patterns;
    const std::string same = reply("a", counts(7, 1, 0));
    reply_patterns::found found;
    ASSERT_TRUE(learns(patterns, same));
    for (int i = 0; i < 1000; ++i) {
        EXPECT_FALSE(patterns.replies.match("{" + std::to_string(i), found));
    }
    int hits = 0;
    for (int i = 0; i < 160; ++i) {
        hits += patterns.replies.match(same, found) ? 1 : 0;
    }
    EXPECT_EQ(hits, 10);
    for (int i = 0; i < 1000; ++i) {
        patterns.replies.match(same, found);
    }
    EXPECT_TRUE(patterns.replies.match(same, found));
}

std::string told(const std::string& text, usage_patterns* patterns)
{
    usage_reader reader(reply_form::json, 1, strip_what::nothing, patterns);
    reader.feed(text);
    reader.finish();
    const token_counts c = reader.counts();
    std::string all;
    for (const uint64_t n :
         {c.prompt, c.completion, c.cached, c.cache_write, c.reasoning, uint64_t{reader.known()},
          uint64_t{reader.final()}, uint64_t{reader.content_seen()}, uint64_t{reader.error_seen()},
          uint64_t{reader.incomplete_seen()}, uint64_t{reader.generates()}, uint64_t{reader.has_vectors()}}) {
        all += std::to_string(n) + ' ';
    }
    return all;
}

TEST(reply_patterns, change_nothing_that_is_told)
{
    const std::vector<std::string> kinds = {
        reply("word", counts(7, 1, 0)),
        reply("", counts(7, 2, 3)),
        reply("more \\n", counts(7, 30, 9)),
        reply("z", counts(0, 0, 0)),
        reply("z", counts(0, 0, 0), R"(,"eval_count":5)"),
        reply("z", counts(7, 31, 0), R"(,"error":null)"),
        reply("z", counts(7, 31, 0), R"(,"error":"x")"),
        reply("z", counts(7, 31, 0), R"(,"usage":)" + counts(8, 32, 0)),
        reply("z", counts(7, 31, 0)) + "\n",
        R"({"id":"e","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":3,"output_tokens":4}})",
        R"({"id":"r","model":"m","usage":{"total_tokens":12}})",
        R"({"choices":[],"usage":{"prompt_tokens":1,"prompt_tokens":2}})",
        R"({"eval_count":3,"usage":{"prompt_tokens":0,"completion_tokens":0}})",
    };
    usage_patterns shared;
    uint32_t random = 1;
    for (int i = 0; i < 20000; ++i) {
        random = random * 1664525 + 1013904223;
        const std::string& text = kinds[(random >> 24) % kinds.size()];
        for (uint32_t n = 1 + (random >> 16) % 8; n != 0; --n) {
            ASSERT_EQ(told(text, &shared), told(text, nullptr)) << text;
        }
    }
}

} // namespace
