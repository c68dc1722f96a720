// Events that are passed over count what they would count if they were read.
#include "core/reply/usage.h"

#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

const std::string done = "data: [DONE]\n\n";

std::string event(const std::string& json)
{
    return "data: " + json + "\n\n";
}

// As vLLM sends it with `logprobs`: what is behind the text has another length in each.
std::string with_logprobs(const std::string& delta, size_t logprobs, const std::string& finish)
{
    return event("{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{"
                 + delta + "},\"logprobs\":{\"content\":[{\"token\":\"" + std::string(logprobs, 'x')
                 + "\",\"logprob\":-0.25}]},\"finish_reason\":" + finish + ",\"stop_reason\":null}]}");
}

// As OpenAI and its like send it: something of a random length stands at the end.
std::string with_padding(const std::string& delta, const std::string& finish, size_t padding)
{
    return event("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{" + delta + "},\"finish_reason\":"
                 + finish + "}],\"usage\":null,\"obfuscation\":\"" + std::string(padding, 'o') + "\"}");
}

// As llama.cpp sends it: the end stands in front of the text.
std::string finish_in_front(const std::string& created, const std::string& finish, const std::string& delta)
{
    return event("{\"created\":" + created + ",\"choices\":[{\"finish_reason\":" + finish
                 + ",\"index\":0,\"delta\":{" + delta + "}}],\"id\":\"c\"}");
}

// As Gemini sends it: nothing says of a choice that it has not ended.
std::string without_null(const std::string& delta, const std::string& more)
{
    return event("{\"choices\":[{\"delta\":{" + delta + "},\"index\":0" + more + "}],\"id\":\"c\"}");
}

std::string told(const usage_reader& reader)
{
    std::string all = std::to_string(reader.counts().completion);
    const auto add = [&](const char* name, uint64_t number) {
        all += ' ';
        all += name;
        all += std::to_string(number);
    };
    add("text ", reader.uncounted_text().bytes);
    add("in ", reader.uncounted_text().pieces);
    add("of ", reader.shown_text().bytes);
    add("whole ", reader.whole());
    add("lacks end ", reader.lacks_end());
    add("reasoning ", reader.showed_reasoning());
    return all;
}

void expect(const std::string& stream, const std::string& expected, uint32_t choices = 1)
{
    const auto start = [&](usage_reader& reader) {
        reader.start(reply_form::sse, 1, strip_what::nothing);
        reader.expect_choices(choices);
    };
    every_way(stream, [&](const auto& pieces) {
        usage_reader reader;
        start(reader);
        for (const std::string_view piece : pieces)
            reader.feed(piece);
        reader.finish();
        ASSERT_EQ(told(reader), expected) << pieces.size() << " pieces of " << stream;
    });
    // A piece for each event, as servers send them.
    usage_reader reader;
    start(reader);
    std::string_view rest = stream;
    while (!rest.empty()) {
        const size_t end = std::min(rest.find("\n\n"), rest.size() - 2) + 2;
        reply_piece piece{rest.data(), end, 0, 0};
        if (reader.pass(std::span(&piece, 1)) == 0)
            reader.feed(rest.substr(0, end));
        rest.remove_prefix(end);
    }
    reader.finish();
    EXPECT_EQ(told(reader), expected) << "event by event: " << stream;
}

TEST(usage_pass, the_end_of_a_choice_beside_text)
{
    const std::string text = "\"content\":\"abcd\"";
    const std::string ended = "0 text 12 in 3 of 12 whole 1 lacks end 0 reasoning 0";
    const std::string open = "0 text 12 in 3 of 12 whole 0 lacks end 1 reasoning 0";
    for (const size_t size : {1u, 2u, 30u, 58u, 60u}) {
        expect(with_logprobs(text, 60, "null") + with_logprobs(text, 3, "null")
                   + with_logprobs(text, size, "\"stop\""),
               ended);
        expect(with_padding(text, "null", 60) + with_padding(text, "null", 3)
                   + with_padding(text, "\"stop\"", size),
               ended);
        expect(with_padding(text, "null", 60) + with_padding(text, "null", 3)
                   + with_padding(text, "null", size),
               open);
    }
    expect(finish_in_front("1700000000", "null", text) + finish_in_front("1700000000", "null", text)
               + finish_in_front("1700000000", "\"stop\"", text),
           ended);
    expect(finish_in_front("1000", "null", text) + finish_in_front("1001", "null", text)
               + finish_in_front("10", "\"stop\"", text),
           ended);
    expect(without_null(text, ",\"logprobs\":{\"content\":\"" + std::string(40, 'x') + "\"}")
               + without_null(text, ",\"logprobs\":null") + without_null(text, ",\"finish_reason\":\"stop\""),
           ended);
    expect(without_null(text, ",\"logprobs\":{\"content\":\"" + std::string(40, 'x') + "\"}")
               + without_null(text, ",\"logprobs\":null") + without_null(text, ",\"logprobs\":[]"),
           open);
}

TEST(usage_pass, a_second_text_where_the_first_is_known)
{
    const std::string thought = "\"reasoning_content\":\"abcd\"";
    const std::string both = thought + ",\"content\":\"efgh\"";
    expect(with_logprobs(thought, 60, "null") + with_logprobs(thought, 3, "null")
               + with_logprobs(both, 3, "null") + done,
           "0 text 16 in 3 of 16 whole 1 lacks end 0 reasoning 1");
}

TEST(usage_pass, events_parted_by_one_line_feed)
{
    std::string stream = with_logprobs("\"content\":\"a\"", 60, "null");
    for (const size_t size : {5u, 40u, 3u, 20u}) {
        stream += with_logprobs("\"content\":\"a\"", size, "null");
        stream.pop_back();
    }
    expect(stream + "\n" + with_logprobs("\"content\":\"a\"", 10, "null")
               + with_logprobs("\"content\":\"a\"", 10, "\"stop\""),
           "0 text 7 in 7 of 7 whole 1 lacks end 0 reasoning 0");
}

// As Anthropic and the Responses API send it: each event has a name, which is its type as well.
std::string named(const std::string& type, const std::string& members)
{
    return "event: " + type + "\n" + event("{" + members + ",\"type\":\"" + type + "\"}");
}

std::string block(const std::string& members)
{
    return named("content_block_delta", "\"index\":0,\"delta\":{" + members + "}");
}

std::string output(const std::string& members, const std::string& number)
{
    return named("response.output_text.delta",
                 "\"content_index\":0,\"delta\":\"" + members + ",\"sequence_number\":" + number);
}

TEST(usage_pass, events_with_names)
{
    const std::string text = block(R"("type":"text_delta","text":"abcd")");
    const std::string escaped = block(R"("type":"text_delta","text":"a\u00e9\n")");
    const std::string thought = block(R"("type":"thinking_delta","thinking":"abcd")");
    const std::string ping = named("ping", "\"x\":0");
    expect(text + escaped + text, "0 text 12 in 3 of 12 whole 0 lacks end 0 reasoning 0");
    expect(named("message_start", R"("message":{"usage":{"input_tokens":7,"output_tokens":1}})") + text + text
               + thought + ping + thought + text
               + named("message_delta", R"("delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":10})")
               + text + text + named("message_stop", "\"x\":0"),
           "10 text 8 in 2 of 28 whole 1 lacks end 0 reasoning 1");
    expect(named("response.created", R"("response":{"usage":null})") + output("abcd\"", "9")
               + output("abc\"", "10") + output("", "11\"") + output("a\"", "12")
               + named("response.output_text.done", "\"text\":\"abcd\"")
               + named("response.completed", R"("response":{"usage":{"input_tokens":7,"output_tokens":3}})")
               + output("more\"", "13"),
           "3 text 4 in 1 of 12 whole 1 lacks end 0 reasoning 0");
}

TEST(usage_pass, events_with_names_need_not_be_read)
{
    const std::string ping = named("ping", "\"x\":0");
    for (const std::string& text :
         {block(R"("type":"text_delta","text":"abcd")"), output("abcd\"", "10"),
          named("response.reasoning_summary_text.delta", R"("summary_index":0,"delta":"abcd")")}) {
        usage_reader reader;
        reader.start(reply_form::sse, 1, strip_what::nothing);
        reply_piece pieces[] = {{text.data(), text.size(), 0, 0}, {text.data(), text.size(), 0, 0}};
        reader.feed(ping);
        EXPECT_EQ(reader.pass(pieces), 0u) << text;
        reader.feed(text);
        EXPECT_EQ(reader.pass(pieces), 2u) << text;
        reply_piece other{ping.data(), ping.size(), 0, 0};
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(reader.pass({&other, 1}), 0u) << text;
            reader.feed(ping);
            reader.feed(": keep-alive\n\n");
        }
        EXPECT_EQ(reader.pass(pieces), 2u) << text;
        EXPECT_EQ(reader.uncounted_text(), (text_size{20, 5})) << text;
    }
}

// What else such an event says counts only if it is usage or an error.
TEST(usage_pass, other_members_of_events_with_text)
{
    const auto padded = [](const std::string& more) {
        return output("abcd\"" + more, "10") + output("ab\"", "11");
    };
    const std::string first = padded(",\"obfuscation\":\"" + std::string(60, 'o') + "\"");
    const std::string open = "0 text 12 in 4 of 12 whole 0 lacks end 1 reasoning 0";
    for (const char* more : {R"(,"stop":true)", R"(,"done":true)", R"(,"eval_count":7)",
                             R"(,"logprobs":[{"token":"a"}])", R"(,"usage":null)", R"(,"error":null)"}) {
        expect(first + padded(more), open);
    }
    expect(first + padded(R"(,"usage":{"output_tokens":9})"),
           "9 text 2 in 1 of 12 whole 0 lacks end 0 reasoning 0");
    for (const auto& [other, shown] : {std::pair{"response.output_audio.delta", "10 in 3 of 10"},
                                       {"response.output_text.done", "6 in 2 of 6"}}) {
        expect(first + named(other, R"("content_index":0,"delta":"abcd","sequence_number":10,"stop":true)"),
               "0 text " + std::string(shown) + " whole 1 lacks end 0 reasoning 0");
    }
    const std::string text = block(R"("type":"text_delta","text":"abcd")");
    expect(text + block(R"("type":"text_delta","text":"abcd","stop_reason":"x")"),
           "0 text 8 in 2 of 8 whole 0 lacks end 0 reasoning 0");
}

// Their list of choices means nothing either: the stream's end is still its own.
TEST(usage_pass, choices_in_events_with_names)
{
    const std::string padded = block(R"("type":"text_delta","text":"abcd"},"x":{"y":"0123456789")");
    expect(named("ping", "\"x\":0") + padded
               + block(R"("type":"text_delta","text":"abcd"},"choices":[],"x":{)")
               + named("message_stop", "\"x\":0"),
           "0 text 8 in 2 of 8 whole 1 lacks end 0 reasoning 0");
}

TEST(usage_pass, usage_under_geminis_name)
{
    const std::string usage =
        R"(,"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":9,"totalTokenCount":12})";
    const std::string padding = ",\"x\":\"" + std::string(100, 'o') + "\"";
    const auto named_text = [](const std::string& more) {
        return named("response.output_text.delta", "\"item_id\":\"a\",\"delta\":\"abcd\"" + more);
    };
    expect(named_text("") + named_text(padding) + named_text(usage) + named_text(""),
           "9 text 4 in 1 of 16 whole 0 lacks end 0 reasoning 0");
    const auto chunk = [](const std::string& more) {
        return event(R"({"choices":[{"index":0,"delta":{"content":"abcd"},"finish_reason":null}])" + more
                     + "}");
    };
    expect(chunk("") + chunk(padding) + chunk(usage) + chunk(""),
           "9 text 4 in 1 of 16 whole 0 lacks end 0 reasoning 0");
}

// Behind the text a line of its own may be another text.
TEST(usage_pass, a_second_line_behind_the_text)
{
    const std::string stop = "\ndata: {\"type\":\"message_stop\"}\n\n";
    const std::string text =
        block(R"("type":"text_delta","text":"abcd"},"x":{"y":"0123456789012345678901234567")");
    const std::string two = block(R"("type":"text_delta","text":"abcd")");
    expect(named("ping", "\"x\":0") + text + two.substr(0, two.size() - 2) + stop,
           "0 text 8 in 2 of 8 whole 1 lacks end 0 reasoning 0");
}

// What begins an event behind a carriage return is not known by the one before it.
TEST(usage_pass, events_behind_a_carriage_return)
{
    const auto chunk = [](const std::string& finish, size_t padding) {
        return event(R"({"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":)" + finish
                     + R"(}],"obfuscation":")" + std::string(padding, 'o') + "\"}");
    };
    for (const char* end : {"\n\r\n", "\r\n", "\r\r"}) {
        expect(named("ping", "\"x\":0") + "event: content_block_delta\ndata: {}" + end
                   + (std::string(end) == "\r\n" ? "\r\n" : "") + chunk("null", 9) + chunk("\"stop\"", 3),
               "0 text 2 in 2 of 2 whole 1 lacks end 0 reasoning 0");
    }
}

} // namespace
