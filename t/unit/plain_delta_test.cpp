// Events that are read without the scanner say what they say to it.
#include "core/reply/plain_delta.h"

#include "core/reply/usage.h"
#include "pieces.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

using namespace llm;

std::string event(const std::string& type, const std::string& members)
{
    return "event: " + type + "\ndata: {\"type\":\"" + type + "\"," + members + "}\n\n";
}

std::string output(const std::string& members)
{
    return event("response.output_text.delta", members);
}

std::string block(const std::string& members)
{
    return event("content_block_delta", members);
}

const std::string text_delta = R"("index":0,"delta":{"type":"text_delta","text":"abc"})";

plain_delta read_of(const std::string& events)
{
    const std::string_view* const head = delta_head(events);
    return head == nullptr ? plain_delta() : read_plain_delta(events, *head);
}

TEST(plain_delta, reads_what_servers_send)
{
    const std::string more = "event: ping\n";
    for (
        const std::string& one : {
            block(R"("index":0,"delta":{"type":"text_delta","text":"abc"})"),
            block(R"("index": 12, "delta": {"type": "input_json_delta", "partial_json": "a\"c"})"),
            output(
                R"("sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"\u00e9c","logprobs":[],"obfuscation":"x9")"),
            output(
                R"("content_index":0,"delta":"abc","item_id":"msg_1","output_index":0,"sequence_number":4)"),
            event("response.function_call_arguments.delta",
                  R"("item_id":"fc_1","output_index":0,"delta":"abc")"),
        }) {
        const plain_delta read = read_of(one + more);
        EXPECT_EQ(read.size, one.size()) << one;
        EXPECT_EQ(read.text, 3u) << one;
        EXPECT_FALSE(read.is_thought) << one;
    }
    EXPECT_TRUE(read_of(block(R"("index":0,"delta":{"type":"thinking_delta","thinking":"abc"})")).is_thought);
}

TEST(plain_delta, leaves_to_the_scanner_what_says_more)
{
    for (const std::string& one : {
             event("content_block_start", text_delta),
             event("response.output_text.done", R"("text":"abc")"),
             "event: content_block_delta\ndata: {\"type\":\"error\"," + text_delta + "}\n\n",
             block(text_delta + R"(,"usage":{"output_tokens":1})"),
             block(text_delta + R"(,"type":"message_stop")"),
             block(text_delta + R"(,"delta":"more")"),
             block(text_delta + R"(,"error":"x")"),
             block(text_delta + R"(,"stop":true)"),
             block(text_delta + "}"),
             block(text_delta + ","),
             block(R"("index":0,"delta":{"type":"text_delta","text":"abc","stop_reason":"x"})"),
             block(R"("index":0,"delta":{"type":"signature_delta","signature":"abc"})"),
             block(R"("index":0,"delta":{"type":"text_delta","text":"a\x"})"),
             block(R"("index":00,"delta":{"type":"text_delta","text":"abc"})"),
             block(R"("index":0)"),
             output(R"("delta":"abc","logprobs":[{"token":"a"}])"),
             output(R"("delta":"abc","\u0075sage":1)"),
             "id: 1\n" + block(text_delta),
             block(text_delta).substr(0, block(text_delta).size() - 1),
             std::string(),
         }) {
        EXPECT_EQ(read_of(one).size, 0u) << one;
    }
}

std::string told(const usage_reader& reader)
{
    const token_counts c = reader.counts();
    std::string all;
    for (const uint64_t n :
         {c.prompt, c.completion, reader.uncounted_text().bytes, reader.uncounted_text().pieces,
          reader.shown_text().bytes, reader.shown_text().pieces, uint64_t{reader.showed_reasoning()},
          uint64_t{reader.final()}, uint64_t{reader.lacks_end()}, reader.settled()}) {
        all += std::to_string(n) + ' ';
    }
    return all;
}

TEST(plain_delta, changes_nothing_that_is_told)
{
    const std::string anthropic =
        event("message_start", R"("message":{"usage":{"input_tokens":7,"output_tokens":1}})")
        + block(text_delta) + block(text_delta)
        + block(R"("index":0,"delta":{"type":"thinking_delta","thinking":"hm\n"})") + block(text_delta)
        + event("ping", R"("x":0)")
        + event("message_delta", R"("delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":10})")
        + block(text_delta) + event("message_stop", R"("x":0)");
    const std::string responses =
        event("response.created", R"("response":{"usage":null})")
        + output(R"("delta":"a","sequence_number":9)") + output(R"("delta":"bc","sequence_number":10)")
        + output(R"("delta":"","sequence_number":11)") + event("response.output_text.done", R"("text":"abc")")
        + event("response.completed", R"("response":{"usage":{"input_tokens":7,"output_tokens":3}})")
        + output(R"("delta":"more","sequence_number":12)");
    for (const std::string& stream : {anthropic, responses}) {
        std::string scanned;
        every_way(stream, [&](const auto& pieces) {
            usage_reader reader;
            reader.start(reply_form::sse, 1);
            for (const std::string_view piece : pieces) {
                reader.feed(piece);
            }
            reader.finish();
            scanned = scanned.empty() && pieces.size() == stream.size() ? told(reader) : scanned;
            if (!scanned.empty()) {
                ASSERT_EQ(told(reader), scanned) << pieces.size() << " pieces of " << stream;
            }
        });
        usage_reader reader;
        reader.start(reply_form::sse, 1);
        size_t passed = 0;
        for (std::string_view rest = stream; !rest.empty();) {
            reply_piece piece{rest.data(), rest.find("\n\n") + 2, 0, 0};
            const size_t n = reader.pass({&piece, 1});
            passed += n;
            if (n == 0) {
                reader.feed(piece.bytes());
            }
            rest.remove_prefix(piece.size);
        }
        reader.finish();
        EXPECT_EQ(told(reader), scanned) << "event by event: " << stream;
        EXPECT_GE(passed, 3u) << stream;
    }
}

} // namespace
