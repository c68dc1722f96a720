// Replies of which the usage alone is read count what the scanner counts.
#include "core/reply/plain_reply.h"

#include "core/reply/usage.h"

#include <gtest/gtest.h>

#include <string>

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

bool is_plain(const std::string& text)
{
    usage_fields usage;
    return read_plain_reply(text, usage);
}

// Else they would be read as a whole, which takes longer.
TEST(plain_reply, is_what_servers_send)
{
    for (
        const std::string& text : {
            std::string(
                R"({"id":"chatcmpl-1","object":"chat.completion","created":17,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":[],"reasoning_content":null},"logprobs":null,"finish_reason":"stop","stop_reason":null}],"service_tier":"default","system_fingerprint":null,"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1,"prompt_tokens_details":null},"prompt_logprobs":null,"kv_transfer_params":null})"),
            std::string(
                R"({"id":"1","object":"chat.completion","created":17,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"stop","matched_stop":151645}],"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1,"prompt_tokens_details":null,"reasoning_tokens":0},"metadata":{"weight_version":"default"}})"),
            std::string(
                R"({"id":"chatcmpl-1","object":"chat.completion","created":17,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"if (a[0] == '{') { \"x\" }","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},"service_tier":"default","system_fingerprint":"fp_1"})"),
            std::string(
                R"({"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":0},"output_tokens":1,"service_tier":"standard"}})"),
            std::string(
                "{\n  \"id\" : \"1\",\n  \"choices\" : [\n    { \"text\" : \"a\" }\n  ],\n  \"usage\" : "
                "{\n    \"prompt_tokens\" : 7,\n    \"completion_tokens\" : 1\n  }\n}\n"),
        }) {
        usage_fields usage;
        EXPECT_TRUE(read_plain_reply(text, usage)) << text;
        EXPECT_EQ(usage.counts().prompt, 7u) << text;
        EXPECT_EQ(usage.counts().completion, 1u) << text;
    }
}

TEST(plain_reply, is_not_what_says_more)
{
    const std::string whole = reply("a", counts(7, 1, 0));
    ASSERT_TRUE(is_plain(whole));
    for (const std::string& text : {
             reply("a", "null"),
             reply("a", R"({"prompt_tokens":7.5})"),
             reply("a", R"({"prompt_tokens":"7"})"),
             reply("a", R"({"x":{"y":{}}})"),
             reply("a", counts(7, 1, 0)) + "}",
             reply("a", counts(7, 1, 0)) + "{}",
             reply("a", counts(7, 1, 0), R"(,"usage":null)"),
             reply("a", counts(7, 1, 0), R"(,"error":{"message":"x"})"),
             reply("a", counts(7, 1, 0), R"(,"object":"error")"),
             reply("a", counts(7, 1, 0), R"(,"status":"incomplete")"),
             reply("a", counts(7, 1, 0), R"(,"data":[1])"),
             reply("a", counts(7, 1, 0), R"(,"timings":{"prompt_n":1})"),
             reply("a", counts(7, 1, 0), R"(,"eval_count":1)"),
             reply("a", counts(7, 1, 0), R"(,"\u0075sage":null)"),
             reply("a", counts(7, 1, 0), ","),
             "{\"error\":{\"message\":\"x\"}," + whole.substr(1),
             "{\"timings\":{}," + whole.substr(1),
             "{\"x\":" + whole + "}",
             "[" + whole + "]",
             whole.substr(0, whole.size() - 1),
             whole.substr(0, whole.size() / 2),
             R"({"choices":[],"usage":)" + counts(7, 1, 0) + "}",
             R"({"data":[{"embedding":[1]}],"usage":)" + counts(7, 1, 0) + "}",
             R"({"x":{"choices":[{}]},"usage":)" + counts(7, 1, 0) + "}",
             R"({"usage":)" + counts(7, 1, 0) + "}",
             R"({"my_choices":[{}],"usage":)" + counts(7, 1, 0) + "}",
             std::string("{}"),
             std::string("{"),
         }) {
        EXPECT_FALSE(is_plain(text)) << text;
    }
}

std::string told(const std::string& text, size_t piece)
{
    usage_reader reader(reply_form::json, 1, strip_what::nothing);
    for (size_t at = 0; at < text.size(); at += piece) {
        reader.feed(std::string_view(text).substr(at, piece));
    }
    reader.finish();
    const token_counts c = reader.counts();
    std::string all;
    for (const uint64_t n :
         {c.prompt, c.completion, c.cached, c.cache_write, c.reasoning, uint64_t{reader.known()},
          uint64_t{reader.final()}, uint64_t{reader.content_seen()}, uint64_t{reader.error_seen()},
          uint64_t{reader.incomplete_seen()}, uint64_t{reader.generates()}, uint64_t{reader.has_vectors()},
          c.completion == 0 ? reader.uncounted_text().bytes : 0,
          uint64_t{static_cast<uint8_t>(reader.form())}}) {
        all += std::to_string(n) + ' ';
    }
    return all;
}

TEST(plain_reply, changes_nothing_that_is_told)
{
    for (
        const std::string& text : {
            reply("word", counts(7, 1, 0)),
            reply("", counts(7, 2, 3)),
            reply("more \\n", counts(7, 30, 9)),
            reply("z", counts(0, 0, 0)),
            reply("z", counts(7, 0, 0)),
            reply("z", counts(0, 0, 0), R"(,"eval_count":5)"),
            reply("z", counts(7, 31, 0), R"(,"error":null)"),
            reply("z", counts(7, 31, 0), R"(,"error":"x")"),
            reply("z", counts(7, 31, 0), R"(,"usage":)" + counts(8, 32, 0)),
            reply("z", counts(7, 31, 0)) + "\n",
            reply("z", counts(7, 31, 0)) + reply("z", counts(7, 32, 0)),
            reply("z", counts(7, 31, 0)) + "\n" + reply("z", counts(7, 32, 0)) + "\n",
            std::string(
                R"({"id":"e","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":3,"output_tokens":4}})"),
            std::string(R"({"id":"r","model":"m","usage":{"total_tokens":12}})"),
            std::string(R"({"choices":[],"usage":{"prompt_tokens":1,"prompt_tokens":2}})"),
            std::string(R"({"choices":[{}],"usage":{"prompt_tokens":1,"prompt_tokens":2,"total_tokens":9}})"),
            std::string(R"({"eval_count":3,"usage":{"prompt_tokens":0,"completion_tokens":0}})"),
        }) {
        EXPECT_EQ(told(text, text.size()), told(text, 1)) << text;
    }
}

} // namespace
