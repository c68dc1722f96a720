// The numbers in names are those of the list of hard cases that the wire formats of the servers gave.
#include "core/reply/usage.h"
#include "core/request/request_facts.h"

#include "pieces.h"

#include <gtest/gtest.h>

#include <type_traits>

using namespace llm;

namespace {

static_assert(
    std::is_trivially_destructible_v<usage_reader> && std::is_trivially_destructible_v<request_facts>);
static_assert(std::max(sizeof(usage_reader), sizeof(request_facts)) <= 960,
              "they lie in each request's context");

const std::string done = "data: [DONE]\n\n";

std::string usage(unsigned prompt, unsigned completion)
{
    return "\"usage\":{\"prompt_tokens\":" + std::to_string(prompt) + ",\"completion_tokens\":"
           + std::to_string(completion) + ",\"total_tokens\":" + std::to_string(prompt + completion) + "}";
}

std::string event(const std::string& json)
{
    return "data: " + json + "\n\n";
}

std::string last_event(unsigned prompt, unsigned completion)
{
    return event("{\"choices\":[]," + usage(prompt, completion) + "}");
}

std::string delta(const std::string& json_text, const std::string& more = "")
{
    return event("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + json_text
                 + "\"},\"finish_reason\":null}]" + more + "}");
}

std::string choice_event(unsigned index, const std::string& more)
{
    return event("{\"choices\":[{\"index\":" + std::to_string(index)
                 + ",\"text\":\"a\",\"finish_reason\":null}]," + more + "}");
}

const std::string plain = last_event(7, 10) + done; // test 1

std::string replaced(std::string text, const std::string& what, const std::string& with)
{
    for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
        text.replace(at, what.size(), with);
    return text;
}

std::string told(const usage_reader& reader)
{
    const token_counts c = reader.counts();
    if (!reader.known())
        return reader.final() || c.prompt + c.completion != 0 ? "wrong" : "unknown";
    std::string all = std::to_string(c.prompt) + "/" + std::to_string(c.completion);
    if (c.cached != 0)
        all += " cached " + std::to_string(c.cached);
    if (c.cache_write != 0)
        all += " written " + std::to_string(c.cache_write);
    if (c.reasoning != 0)
        all += " reasoning " + std::to_string(c.reasoning);
    return all + (reader.final() ? " final" : "");
}

template <typename Check>
void each_way(reply_form form, std::string_view text, uint32_t prompts, Check&& check, uint32_t choices = 1)
{
    every_way(text, [&](const auto& pieces) {
        usage_reader reader;
        reader.start(form, prompts);
        reader.expect_choices(choices);
        for (const std::string_view piece : pieces)
            reader.feed(piece);
        reader.finish();
        check(reader);
    });
}

// Also after content, when events that cannot tell anything are passed over.
void expect_stream(const std::string& text, const std::string& expected, uint32_t prompts = 1,
                   uint32_t choices = 1)
{
    const auto check = [&](const usage_reader& reader) {
        ASSERT_EQ(told(reader), expected) << text.substr(0, 500);
    };
    each_way(reply_form::sse, text, prompts, check, choices);
    if (!text.starts_with("\xef"))
        each_way(reply_form::sse, delta("x") + text, prompts, check, choices);
}

void expect_json(const std::string& text, const std::string& expected)
{
    each_way(reply_form::json, text, 1,
             [&](const usage_reader& reader) { ASSERT_EQ(told(reader), expected) << text.substr(0, 500); });
}

bool error_in(const std::string& text, reply_form form = reply_form::sse)
{
    int count = 0;
    int all = 0;
    each_way(form, text, 1, [&](const usage_reader& reader) { ++all, count += reader.error_seen(); });
    EXPECT_TRUE(count == 0 || count == all) << text;
    return count != 0;
}

TEST(usage, stream_01_to_05_line_ends)
{
    expect_stream(plain, "7/10 final");
    expect_stream(replaced(plain, "data: ", "data:"), "7/10 final");
    expect_stream(replaced(plain, "\n", "\r\n"), "7/10 final");
    expect_stream(replaced(plain, "\n", "\r"), "7/10 final");
    expect_stream("\xef\xbb\xbf" + plain, "7/10 final");
}

TEST(usage, stream_06_trailing_space)
{
    expect_stream("data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]} \n\n" + plain,
                  "7/10 final");
    expect_stream(replaced(plain, "}}\n", "}} \t\n"), "7/10 final");
}

TEST(usage, stream_07_heartbeats)
{
    expect_stream(delta("a") + repeated(1000, ":\n\n: ping\n\n") + plain, "7/10 final");
}

TEST(usage, stream_of_empty_lines)
{
    for (size_t lines = 2; lines < 6; ++lines) {
        const std::string gap = repeated(lines, "\n");
        expect_stream(replaced(delta("a") + delta("b", ",\"usage\":{}") + delta("c") + plain, "\n\n", gap),
                      "7/10 final");
        expect_stream(gap + delta("a") + gap + plain + gap, "7/10 final");
    }
}

TEST(usage, stream_08_09_decoys_in_text)
{
    expect_stream(delta(R"(\"usage\":{\"prompt_tokens\":999,\"completion_tokens\":999})") + plain,
                  "7/10 final");
    expect_stream(delta(R"(data: {\"usage\":1}\n\ndata: [DONE])") + last_event(7, 10), "7/10 final");
    each_way(reply_form::sse, delta(R"(data: [DONE]\n\n)"), 1,
             [](const usage_reader& reader) { EXPECT_FALSE(reader.done_seen()); });
    expect_stream(
        event(R"({"choices":[{"index":0,"delta":{"usage":{"prompt_tokens":9},"content":"\u0022usage"}}]})")
            + plain,
        "7/10 final");
    expect_stream(event(R"({"x":{"usage":{"prompt_tokens":9}},"choices":[]})") + plain, "7/10 final");
}

TEST(usage, stream_10_to_12_null_and_zero)
{
    expect_stream(repeated(5, delta("a", ",\"usage\":null")) + plain, "7/10 final");
    expect_stream(repeated(5, delta("a", ",\"usage\": null")) + done, "unknown");
    const std::string zeros = repeated(5, choice_event(0, usage(0, 0)));
    expect_stream(zeros + last_event(7, 5) + done, "7/5 final");
    expect_stream(zeros, "unknown");
    expect_stream(last_event(0, 0) + done, "unknown");
    expect_stream(choice_event(0, usage(7, 1)) + choice_event(0, "\"usage\":null"), "7/1");
}

TEST(usage, stream_13_14_continuous)
{
    std::string counted;
    for (unsigned i = 0; i <= 10; ++i)
        counted += choice_event(0, usage(7, i));
    expect_stream(counted, "7/10");
    expect_stream(counted + last_event(7, 10) + done, "7/10 final");
    expect_stream(counted + done, "7/10 final");
    expect_stream(choice_event(0, usage(7, 3)) + choice_event(1, usage(7, 5)) + choice_event(0, usage(7, 4)),
                  "7/9");
}

TEST(usage, stream_15_16_order_and_place)
{
    expect_stream(
        event(R"({"choices":[],"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10}})")
            + done,
        "7/10 final");
    expect_stream(event(R"({"choices":[{"text":"","index":0,"finish_reason":"stop"}],"created":1,"usage":)"
                        R"({"completion_tokens":10,"prompt_tokens":7,"total_tokens":17},"id":"x"})")
                      + done,
                  "7/10 final");
    expect_stream(event(R"({"usage":{"completion_tokens":10,"prompt_tokens":7},"choices":[{"index":0}]})"),
                  "7/10");
    expect_stream(event(R"({"\u0075sage":{"prompt_tokens":7,"complet\u0069on_tokens":10},"choices":[]})"),
                  "7/10 final");
}

TEST(usage, stream_17_to_19_several_last_words)
{
    expect_stream(last_event(3, 4) + last_event(5, 6) + done, "8/10 final", 2);
    expect_stream(last_event(7, 4) + last_event(7, 6) + done, "7/10 final", 1, 2);
    expect_stream(last_event(3, 4) + last_event(3, 4) + last_event(5, 6) + last_event(5, 6) + done,
                  "8/20 final", 2, 4);
    // There are no more of them than choices: more are running counts, or one that was sent twice.
    expect_stream(last_event(7, 10) + last_event(7, 10) + done, "7/10 final");
    expect_stream(last_event(7, 1) + last_event(7, 2) + last_event(7, 10) + done, "7/10 final", 1, 2);
    expect_stream(last_event(7, 1) + last_event(0, 10) + done, "7/10 final");
    expect_stream(choice_event(0, "\"x\":1") + choice_event(0, usage(3, 4)) + choice_event(1, usage(5, 6))
                      + done,
                  "8/10 final", 2);
    // Two prompts with two choices each, cumulative counts per choice.
    expect_stream(choice_event(0, usage(3, 1)) + choice_event(1, usage(3, 2)) + choice_event(2, usage(5, 3))
                      + choice_event(3, usage(5, 4)),
                  "8/10", 2);
}

TEST(usage, stream_21_empty_choices_without_usage)
{
    expect_stream(event(R"({"choices":[],"model":"m","sglext":{}})") + plain, "7/10 final");
}

TEST(usage, stream_22_details)
{
    expect_stream(
        event(R"({"choices":[],"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":4,)"
              R"("multimodal_tokens":{"image":2}},"completion_tokens":10,"completion_tokens_details":)"
              R"({"reasoning_tokens":6,"completion_tokens":99}}})"),
        "7/10 cached 4 reasoning 6 final");
    // SGLang
    expect_stream(
        event(R"({"choices":[],"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10,)"
              R"("prompt_tokens_details":null,"reasoning_tokens":6}})"),
        "7/10 reasoning 6 final");
    expect_stream(
        event(R"({"choices":[],"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":4},)"
              R"("output_tokens":10,"output_tokens_details":{"reasoning_tokens":6}}})"),
        "7/10 cached 4 reasoning 6 final");
    // A part is never more than the whole.
    expect_stream(
        event(R"({"choices":[],"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":99}}})"),
        "7/0 cached 7 final");
}

TEST(usage, stream_23_24_errors)
{
    const std::string text =
        event(R"({"error": {"message": "x", "type": "BadRequestError", "param": null, "code": 400}})");
    EXPECT_TRUE(error_in(delta("a") + text + done));
    EXPECT_TRUE(error_in(text));
    EXPECT_TRUE(error_in(delta("a") + "error: {\"code\":500}\n\n"));
    EXPECT_TRUE(error_in(delta("a") + delta("b") + "error: {\"code\":500}\n\n" + delta("c")));
    EXPECT_TRUE(error_in(delta("a") + "x: y\rerror: z\n\n" + delta("b")));
    EXPECT_TRUE(error_in(delta("a") + "error\r\n\n" + delta("b")));
    EXPECT_TRUE(error_in(delta("a") + ":\nerror: {\"code\":500}\r\n\r\n"));
    EXPECT_TRUE(error_in(delta("a") + event("{\"\\u0065rror\":\"x\"}") + delta("b")));
    EXPECT_TRUE(error_in(event("{\"error\":true}")));
    EXPECT_TRUE(error_in(event("{\"error\":0.5}")));
    EXPECT_TRUE(error_in(event("{\"error\":[0]}")));
    EXPECT_TRUE(error_in("{\"error\":{\"message\":\"x\"}}", reply_form::json));
    for (const char* value : {"null", "false", "0", "\"\"", "{}", "[]", "{ }"})
        EXPECT_FALSE(error_in(delta("a") + event("{\"error\":" + std::string(value) + "}"))) << value;
    EXPECT_FALSE(
        error_in(delta("\\\"error\\\":1") + delta("error: x") + event("{\"x\":{\"error\":1}}") + done));
    EXPECT_FALSE(error_in(delta("a") + event("{\"choices\":[{\"index\":0,\"error\":{\"a\":1}}]}")));
    EXPECT_FALSE(error_in("{\"object\":\"response\",\"error\":null}", reply_form::json));
}

TEST(usage, stream_25_26_tails)
{
    const std::string cut = plain.substr(0, plain.find("\"completion_tokens\":1") + 21);
    expect_stream(cut, "unknown");
    expect_stream(choice_event(0, usage(7, 3)) + cut, "7/3");
    const std::string whole = last_event(7, 10);
    for (size_t less = 1; less <= 2; ++less)
        expect_stream(whole.substr(0, whole.size() - less), "7/10 final");
    expect_stream(whole.substr(0, whole.size() - 3), "unknown");
}

TEST(usage, stream_27_to_29_json)
{
    expect_json(
        "{\n  \"id\" : \"x\",\n  \"usage\" : {\n    \"prompt_tokens\" : 7,\n    \"completion_tokens\" : 10,\n"
        "    \"total_tokens\" : 17\n  },\n  \"choices\" : [\n    { \"index\" : 0, \"text\" : \"a\" }\n  "
        "]\n}\n",
        "7/10 final");
    const std::string floats = "{\"object\":\"list\",\"data\":[{\"embedding\":[0.5"
                               + repeated(1u << 19, ",-0.01234567890")
                               + "]}],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}";
    usage_reader reader;
    reader.start(reply_form::json, 1);
    for (size_t at = 0; at < floats.size(); at += 16384)
        reader.feed(std::string_view(floats).substr(at, 16384));
    reader.finish();
    EXPECT_EQ(told(reader), "7/0 final");
    const std::string rerank =
        R"({"id":"r","usage":{"prompt_tokens":7,"total_tokens":7},"results":[{"index":0,"document":)"
        R"({"text":"\"usage\":{\"prompt_tokens\":1}","usage":{"prompt_tokens":1}}}]})";
    expect_json(rerank, "7/0 final");
    expect_json("{\"results\":[],\"usage\":{\"total_tokens\":7}}", "7/0 final");
    expect_json("{\"usage\":{\"completion_tokens\":3,\"total_tokens\":7}}", "4/3 final");
}

TEST(usage, json_without_counts)
{
    for (const char* text :
         {"", "{}", "[]", "5", "{\"usage\":null}", "{\"usage\":5}", "{\"usage\":[{\"prompt_tokens\":7}]}",
          "{\"usage\":{\"type\":\"duration\",\"seconds\":7}}", "{\"input_tokens\":7}",
          "{\"usage\":{\"prompt_tokens\":\"x\"}}", "{\"usage\":{\"prompt_tokens\":-7}}",
          "{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1", "not json"})
        expect_json(text, "unknown");
    // A cut after the object that tells the usage does not matter.
    expect_json("{\"usage\":{\"prompt_tokens\":7}", "7/0 final");
}

TEST(usage, json_choices)
{
    const std::string choices = R"("choices":[{"usage":{"prompt_tokens":7,"completion_tokens":4},"index":1},)"
                                R"({"index":0,"usage":{"input_tokens":7,"output_tokens":6}}])";
    expect_json("{" + choices + "}", "unknown");
    expect_json("{" + choices + "," + usage(8, 11) + "}", "8/11 final");
    expect_json("{" + usage(1, 1) + "," + usage(8, 11) + "}", "8/11 final");
    expect_json("{" + usage(1, 1) + ",\"usage\":null}", "unknown");
}

TEST(usage, stream_choice_usage)
{
    expect_stream(
        event(R"({"choices":[{"index":0,"delta":{},"usage":{"prompt_tokens":7,"completion_tokens":4}}]})")
            + event(R"({"choices":[{"usage":{"prompt_tokens":7,"completion_tokens":6},"index":1}]})") + done,
        "7/10 final");
}

TEST(usage, stream_many_choices)
{
    std::string text;
    for (unsigned i = 0; i < 16; ++i)
        text += choice_event(i, usage(7, 1));
    expect_stream(text, "7/16");
    // From the sixteenth on they share one place.
    expect_stream(text + choice_event(16, usage(7, 5)) + choice_event(4000000000u, usage(7, 4)), "7/21");
    expect_stream(
        event(R"({"choices":[{"index":0},{"index":1}],"usage":{"prompt_tokens":7,"completion_tokens":4}})")
            + event(R"({"usage":{"prompt_tokens":7,"completion_tokens":9}})"),
        "7/9");
}

TEST(usage, parts_stay_within_the_whole)
{
    const auto part = [](const char* name) {
        return choice_event(0, std::string(R"("usage":{"prompt_tokens":7,"completion_tokens":1,")") + name
                                   + "\":50}");
    };
    expect_stream(part("cache_read_input_tokens") + part("cache_creation_input_tokens"), "7/1 cached 7");
}

TEST(usage, stream_bad_events_do_not_count)
{
    expect_stream("data: {\"choices\":[]," + usage(7, 10) + "\n\n", "unknown");
    expect_stream("data: {\"choices\":[]," + usage(7, 10) + "}}\n\n" + done, "unknown");
    expect_stream("data: {\"choices\":[]," + usage(7, 10) + "} {}\n\n", "unknown");
    expect_stream("id: {\"choices\":[]," + usage(7, 10) + "}\n\n", "unknown");
    // One value in several lines is one value.
    expect_stream("data: {\"choices\":[],\ndata:" + usage(7, 10) + "\ndata\ndata: }\n\n", "7/10 final");
}

TEST(usage, stream_37_splits_in_characters)
{
    expect_stream(delta("你😀") + delta("\\ud83d\\ude00") + plain, "7/10 final");
}

TEST(usage, stream_40_tokens_without_text)
{
    const std::string empty = event(R"({"choices":[{"index":0,"delta":{}}]})");
    expect_stream(empty + delta("a") + empty
                      + event(R"({"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":100,)"
                              R"("completion_tokens_details":{"reasoning_tokens":100}}})"),
                  "12/100 reasoning 100 final");
}

TEST(usage, content)
{
    const auto seen = [](const std::string& choice) {
        bool is = false;
        each_way(reply_form::sse, event("{\"choices\":[" + choice + "]}"), 1,
                 [&](const usage_reader& reader) { is = reader.content_seen(); });
        return is;
    };
    EXPECT_TRUE(seen(R"({"delta":{"content":"x"}})"));
    EXPECT_TRUE(seen(R"({"delta":{"reasoning":"x"}})"));
    EXPECT_TRUE(seen(R"({"delta":{"content":"","reasoning_content":"\n"}})"));
    EXPECT_TRUE(seen(R"({"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]}})"));
    EXPECT_TRUE(seen(R"({"text":"x"})"));
    EXPECT_FALSE(seen(R"({"text":""})"));
    EXPECT_FALSE(seen(R"({"delta":{"role":"assistant","content":"","reasoning":null}})"));
    EXPECT_TRUE(
        seen(R"({"delta":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":""}}]}})"));
    EXPECT_FALSE(seen(R"({"delta":{"content":null,"tool_calls":[]}})"));
    // Whatever else a delta has is content, if it is not empty.
    for (const char* member :
         {R"("x":"a")", R"("audio":{"data":"UklG"})", R"("audio":{"transcript":"a"})", R"("x":["a"])",
          R"("reasoning_details":[{"type":"reasoning.text","text":"a"}])",
          R"("function_call":{"name":"f","arguments":""})", R"("thinking_blocks":[{"thinking":"a"}])"})
        EXPECT_TRUE(seen("{\"delta\":{\"role\":\"assistant\"," + std::string(member) + "}}")) << member;
    for (const char* member :
         {R"("x":"")", R"("audio":{"id":"a"})", R"("audio":null)", R"("x":[])", R"("x":{})", R"("x":1)",
          R"("x":null)", R"("reasoning_details":[])", R"("function_call":null)"})
        EXPECT_FALSE(seen("{\"delta\":{\"role\":\"assistant\"," + std::string(member) + "}}")) << member;
    EXPECT_FALSE(seen(R"({"x":{"content":"x"}})"));

    usage_reader reader;
    reader.start(reply_form::json, 1);
    reader.feed("");
    EXPECT_FALSE(reader.content_seen());
    reader.feed("{");
    EXPECT_TRUE(reader.content_seen());
}

TEST(usage, counts_hold_while_the_stream_runs)
{
    usage_reader reader;
    reader.start(reply_form::sse, 1);
    EXPECT_EQ(told(reader), "unknown");
    for (unsigned i = 1; i < 5; ++i) {
        reader.feed(choice_event(0, usage(7, i)));
        EXPECT_EQ(told(reader), "7/" + std::to_string(i));
    }
    reader.start(reply_form::sse, 1);
    EXPECT_EQ(told(reader), "unknown");
}

TEST(usage, large_numbers_stay_bounded)
{
    const std::string big =
        event(R"({"choices":[],"usage":{"prompt_tokens":1e300,"completion_tokens":99999999999999999999}})");
    expect_stream(big + big, "4294967295/4294967295 final");
}

TEST(usage, passes_over_long_streams)
{
    std::string text;
    for (unsigned i = 0; i < 3000; ++i)
        text += i % 97 == 0 ? choice_event(0, usage(7, i)) : delta("token " + std::to_string(i));
    usage_reader reader;
    for (const size_t size : {1u, 37u, 1000u, 16384u, 10000000u}) {
        reader.start(reply_form::sse, 1);
        for (size_t at = 0; at < text.size(); at += size)
            reader.feed(std::string_view(text).substr(at, size));
        EXPECT_EQ(told(reader), "7/2910") << size;
    }
}

TEST(usage, zeroed_memory_reads_nothing)
{
    usage_reader reader{};
    reader.feed(plain);
    reader.finish();
    EXPECT_EQ(told(reader), "unknown");
    EXPECT_FALSE(reader.content_seen());
}

TEST(usage, reply_forms)
{
    EXPECT_EQ(reply_form_of("application/json"), reply_form::json);
    EXPECT_EQ(reply_form_of("Application/JSON; charset=utf-8"), reply_form::json);
    EXPECT_EQ(reply_form_of(" text/event-stream;charset=utf-8"), reply_form::sse);
    EXPECT_EQ(reply_form_of("text/event-stream"), reply_form::sse);
    EXPECT_EQ(reply_form_of("application/x-ndjson; charset=utf-8"), reply_form::lines);
    for (const char* type : {"", "application/jsonl", "application/json-seq", "application/ndjson",
                             "text/plain", "text/html", "text/event-streams"})
        EXPECT_EQ(reply_form_of(type), reply_form::unknown) << type;
    for (const char* type : {"audio/mpeg", "Image/png", "video/mp4; codecs=avc1"})
        EXPECT_EQ(reply_form_of(type), reply_form::none) << type;
}

// Each in every way, also in one byte a piece.
void expect_lines(const std::string& text, const std::string& expected)
{
    each_way(reply_form::lines, text, 1,
             [&](const usage_reader& reader) { ASSERT_EQ(told(reader), expected) << text.substr(0, 500); });
}

// Not behind a chunk of chat, which would show that it is a stream of those.
void expect_native(const std::string& text, const std::string& expected)
{
    each_way(reply_form::sse, text, 1,
             [&](const usage_reader& reader) { ASSERT_EQ(told(reader), expected) << text.substr(0, 500); });
}

std::string typed(const std::string& type, const std::string& members)
{
    return "event: " + type + "\ndata: {\"type\":\"" + type + "\"" + members + "}\n\n";
}

std::string message_start(const std::string& usage_members)
{
    return typed("message_start",
                 ",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{" + usage_members + "}}");
}

std::string message_delta(const std::string& usage_members)
{
    return typed("message_delta",
                 ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{" + usage_members + "}");
}

const std::string text_delta =
    typed("content_block_delta", R"(,"index":0,"delta":{"type":"text_delta","text":"hi"})");
const std::string message_stop = typed("message_stop", "");

TEST(usage, stream_20_timings_alone)
{
    const std::string last = event(R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],)"
                                   R"("timings":{"cache_n":4,"prompt_n":3,"predicted_n":10}})");
    expect_stream(delta("a") + last + done, "7/10 cached 4 final");
    // They count only where nothing else does.
    expect_stream(last + last_event(8, 11) + done, "8/11 final");
}

TEST(usage, stream_30_to_32_messages)
{
    const std::string start = message_start(R"("input_tokens":7,"cache_creation_input_tokens":100,)"
                                            R"("cache_read_input_tokens":50,"cache_creation":{)"
                                            R"("ephemeral_5m_input_tokens":100},"output_tokens":3)");
    expect_stream(start + text_delta + message_delta("\"output_tokens\":10") + message_stop,
                  "157/10 cached 50 written 100 final");
    expect_stream(start + text_delta, "157/3 cached 50 written 100");
    const std::string iterations =
        R"("input_tokens":7,"output_tokens":10,"iterations":[)"
        R"({"input_tokens":7,"output_tokens":10},{"input_tokens":1,"output_tokens":99}])";
    const std::string padded = replaced(message_delta(iterations), "}}\n", "}               }\n");
    expect_stream(message_start("\"input_tokens\":7,\"output_tokens\":1") + text_delta + padded
                      + message_stop,
                  "7/10 final");
    for (const char* first : {"0", "9"}) {
        expect_stream(message_start(std::string("\"input_tokens\":") + first + ",\"output_tokens\":0")
                          + text_delta + message_delta("\"input_tokens\":7,\"output_tokens\":10")
                          + message_stop,
                      "7/10 final");
    }
    // llama.cpp: each count in one place only.
    expect_stream(message_start("\"input_tokens\":7") + message_delta("\"output_tokens\":10"), "7/10 final");
}

TEST(usage, stream_33_and_34_responses)
{
    const std::string created = typed("response.created", R"(,"response":{"id":"r","usage":null})");
    const std::string text = typed("response.output_text.delta", R"(,"delta":"hi")");
    expect_stream(
        created + text
            + "event: response.completed\ndata: {\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":7,"
              "\"output_tokens\":10,\"total_tokens\":17}},\"sequence_number\":9,"
              "\"type\":\"response.completed\"}\n\n",
        "7/10 final");
    const std::string details =
        R"(,"response":{"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":4,)"
        R"("input_tokens_per_turn":[7]},"output_tokens":10,"output_tokens_details":)"
        R"({"reasoning_tokens":6}}})";
    expect_stream(created + text + typed("response.incomplete", details), "7/10 cached 4 reasoning 6 final");
    expect_stream(text
                      + typed("response.completed",
                              R"(,"response":{"usage":{"prompt_tokens":7,"completion_tokens":10}})"),
                  "7/10 final");

    const std::string incomplete =
        created + text + typed("response.incomplete", R"(,"response":{"usage":null})");
    expect_stream(incomplete, "unknown");
    each_way(reply_form::sse, incomplete, 1, [](const usage_reader& reader) {
        ASSERT_TRUE(reader.incomplete_seen());
        ASSERT_FALSE(reader.error_seen());
    });
    EXPECT_TRUE(error_in(created + text
                         + typed("response.failed", R"(,"response":{"error":{"code":"x"},"usage":null})")));
    EXPECT_TRUE(error_in(created + text + typed("response.failed", R"(,"error":null,"response":{})")));
    EXPECT_TRUE(error_in(text + typed("error", R"(,"code":"x","message":"m")")));
    EXPECT_TRUE(error_in(text + typed("error", R"(,"code":"x","error":null)")));
    EXPECT_TRUE(error_in(delta("a") + "event: error\ndata: {}\n\n"));
}

TEST(usage, lines_35_and_36_ollama)
{
    const std::string first = R"({"model":"m","message":{"role":"assistant","content":"hi"},"done":false})"
                              "\n";
    const std::string context = repeated(15000, "101325,");
    const std::string last =
        "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\",\"context\":[" + context
        + "1],\"total_duration\":9,\"prompt_eval_count\":7,\"eval_count\":10}";
    usage_reader reader;
    reader.start(reply_form::lines, 1);
    std::string all = first + last;
    for (size_t at = 0; at < all.size(); at += 4096)
        reader.feed(std::string_view(all).substr(at, 4096));
    reader.finish();
    EXPECT_EQ(told(reader), "7/10 final");

    expect_lines(first + R"({"done":true,"prompt_eval_count":7,"eval_count":10})" + "\n", "7/10 final");
    expect_lines(first + "\r\n" + R"({"done":true,"prompt_eval_count":7,"eval_count":10})" + "\r\n",
                 "7/10 final");
    expect_lines(first + R"({"done":true,"eval_count":10})", "0/10 final");
    expect_lines(first + R"({"done":true})" + "\n", "unknown");
    expect_lines(first + R"({"done":true,"prompt_eval_count":7,"eval_count":1)", "unknown");
    EXPECT_TRUE(error_in(first + "{\"error\":\"no\"}\n", reply_form::lines));
    EXPECT_FALSE(error_in(first, reply_form::lines));
    each_way(reply_form::lines, first, 1,
             [](const usage_reader& r) { ASSERT_TRUE(r.content_seen() && r.at_event_border()); });
}

TEST(usage, native_streams)
{
    // llama.cpp: running counts on each event.
    const auto llama = [](unsigned n, bool stop) {
        return event("{\"index\":0,\"content\":\"" + std::string(stop ? "" : "a")
                     + "\",\"stop\":" + (stop ? "true" : "false")
                     + ",\"tokens_predicted\":" + std::to_string(n) + ",\"tokens_evaluated\":7}");
    };
    expect_native(llama(1, false) + llama(2, false), "7/2");
    expect_native(llama(1, false) + llama(10, true), "7/10 final");
    // SGLang: the whole text each time.
    const auto sglang = [](unsigned n) {
        return event("{\"text\":\"aaa\",\"meta_info\":{\"prompt_tokens\":7,\"completion_tokens\":"
                     + std::to_string(n) + ",\"cached_tokens\":4}}");
    };
    expect_native(sglang(1) + sglang(5), "7/5 cached 4");
    expect_native(sglang(1) + sglang(10) + done, "7/10 cached 4 final");
    // TGI.
    const std::string token =
        event(R"({"index":1,"token":{"id":1,"text":"a"},"generated_text":null,"details":null})");
    expect_native(token + token, "unknown");
    expect_native(
        token
            + event(R"({"index":10,"token":{"id":2,"text":""},"generated_text":"all","details":)"
                    R"({"finish_reason":"length","generated_tokens":10,"seed":null,"input_length":7}})"),
        "7/10 final");
}

TEST(usage, native_json)
{
    expect_json(
        R"({"content":"a","tokens_predicted":10,"tokens_evaluated":7,"stop":true,"timings":{"prompt_n":1}})",
        "7/10 final");
    expect_json(
        R"({"model":"m","response":"a","done":true,"context":[1,2],"prompt_eval_count":7,"eval_count":10})",
        "7/10 final");
    expect_json(R"({"model":"m","embeddings":[[0.1]],"prompt_eval_count":7})", "7/0 final");
    expect_json(R"({"text":"a","meta_info":{"prompt_tokens":7,"completion_tokens":10}})", "7/10 final");
    expect_json(R"([{"text":"a","meta_info":{"prompt_tokens":3,"completion_tokens":4}},)"
                R"({"text":"b","meta_info":{"prompt_tokens":5,"completion_tokens":6}}])",
                "8/10 final");
    expect_json(R"({"generated_text":"a","details":{"generated_tokens":10,"prefill":[],"input_length":7}})",
                "7/10 final");
    expect_json(
        R"({"type":"message","content":[],"usage":{"input_tokens":7,"cache_read_input_tokens":50,"output_tokens":10}})",
        "57/10 cached 50 final");
    expect_json(R"({"object":"response","output":[],"usage":{"input_tokens":7,"output_tokens":10}})",
                "7/10 final");
    expect_json(R"({"input_tokens":7})", "unknown");
    expect_json(R"({"choices":[],"timings":{"cache_n":4,"prompt_n":3,"predicted_n":10}})",
                "7/10 cached 4 final");
}

// Bytes of text that no usage has counted, the same in each way.
uint64_t uncounted(const std::string& text, reply_form form = reply_form::sse)
{
    uint64_t bytes = 0;
    bool first = true;
    each_way(form, text, 1, [&](const usage_reader& reader) {
        EXPECT_TRUE(first || bytes == reader.uncounted_text().bytes)
            << text << ": " << bytes << ", " << reader.uncounted_text().bytes;
        bytes = reader.uncounted_text().bytes;
        first = false;
    });
    return bytes;
}

TEST(usage, what_is_left_to_be_estimated)
{
    const std::string text = delta("hello");
    const std::string role = event(R"({"choices":[{"index":0,"delta":{"role":"assistant"}}]})");
    EXPECT_EQ(uncounted(role), 0u);
    EXPECT_EQ(uncounted(role + text + text + text), 15u);
    EXPECT_EQ(uncounted(role + text + text + text.substr(0, 40)), 10u);
    EXPECT_EQ(uncounted(role + text + text + done), 10u);
    EXPECT_EQ(uncounted(text + last_event(7, 1) + done), 0u);
    const std::string error = event(R"({"error":{"message":"x","code":500}})");
    EXPECT_EQ(uncounted(text + text + error + done), 10u);
    const std::string start = message_start("\"input_tokens\":7,\"output_tokens\":3");
    EXPECT_EQ(uncounted(start + text_delta + text_delta), 4u);

    usage_reader reader;
    reader.start(reply_form::sse, 1);
    reader.feed(role + text + text + last_event(7, 2) + done);
    EXPECT_EQ(reader.shown_text(), (text_size{10, 2}));
    EXPECT_EQ(reader.uncounted_text(), text_size{});
}

// What stands around the text, or is told twice, is none.
TEST(usage, only_text_is_text)
{
    const auto chunk = [](const std::string& delta, const std::string& more = "") {
        return event(R"({"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":)"
                     + delta + ",\"logprobs\":null" + more + "}]}");
    };
    const std::string logprobs =
        R"(,"top":{"content":[{"token":"hello","logprob":-0.1,"bytes":[104,101,108]}]})";
    const std::string content = chunk(R"({"content":"hello"})");
    // Each after text in the usual place, and before it.
    const struct {
        std::string stream;
        uint64_t bytes;
    } cases[] = {
        {chunk(R"({"content":"hello"})", logprobs), 5},
        {chunk(R"({"reasoning_content":"hm, hm"})"), 6},
        {chunk(R"({"reasoning":"hm"})"), 2},
        {chunk(R"({"content":"a\nb"})"), 3},
        {chunk(R"({"content":"\u4f60\u597d"})"), 6},
        {chunk(R"({"content":"\ud83d\ude00!"})"), 5},
        {chunk(R"({"content":"\u00e9\u0041"})"), 3},
        {chunk("{\"content\":\"\xe4\xbd\xa0\"}"), 3},
        {chunk(R"({"content":""})"), 0},
        {chunk(R"({"role":"assistant"})"), 0},
        {chunk("{}", R"(,"finish_reason":"stop")"), 0},
        {chunk(
             R"({"tool_calls":[{"index":0,"id":"call_0123456789","function":{"name":"f","arguments":"{\"a\":1}"}}]})"),
         7},
        {chunk(R"(   {   "content"  :   "x"   }   )"), 1},
        {chunk(R"({"refusal":"no"})"), 2},
        {chunk(R"({"function_call":{"arguments":"{\"a\":1}"}})"), 7},
        {chunk(R"({"tool_calls":[{"index":0,"custom":{"input":"x = 1"}}]})"), 5},
        // Behind a text in the usual place, or behind none there.
        {chunk(R"({"content":"","tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]})"), 7},
        {chunk(R"({"content":"hello","tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]})"), 12},
        {chunk(R"({"content":"","reasoning_content":"hm"})"), 2},
        {chunk(R"({"content":"a"}},{"index":1,"delta":{"content":"b"})"), 2},
        // Under two names.
        {chunk(R"({"reasoning":"hm, hm","reasoning_content":"hm, hm"})"), 6},
        {chunk(R"({"reasoning":"a"}},{"index":1,"delta":{"reasoning":"b"})"), 2},
        {chunk(R"({"content":[{"type":"text","text":"hello"},{"type":"text","text":"you"}]})"), 8},
        {chunk(R"({"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]})"), 2},
    };
    for (const auto& c : cases) {
        EXPECT_EQ(uncounted(c.stream), c.bytes) << c.stream;
        EXPECT_EQ(uncounted(content + c.stream + content), 10 + c.bytes) << c.stream;
        EXPECT_EQ(uncounted(c.stream + c.stream + content + content + c.stream), 10 + 3 * c.bytes)
            << c.stream;
    }

    const auto responses = [](const std::string& type, const std::string& more) {
        return "event: " + type + "\ndata: {\"type\":\"" + type + "\"," + more + "}\n\n";
    };
    const std::string delta = responses("response.output_text.delta", R"("delta":"some words")");
    EXPECT_EQ(uncounted(delta + delta
                        + responses("response.output_text.done", R"("text":"some wordssome words")")
                        + responses("response.completed", R"("response":{"output":["some words"]})")),
              20u);
    const std::string line = R"({"model":"m","response":"","thinking":"hm","done":false})"
                             "\n";
    EXPECT_EQ(uncounted(line + line, reply_form::lines), 4u);
    // The type may come last.
    EXPECT_EQ(uncounted("data: {\"text\":\"some words\",\"type\":\"response.output_text.done\"}\n\n"), 0u);
}

TEST(usage, text_of_json_replies)
{
    const struct {
        std::string reply;
        uint64_t bytes;
    } cases[] = {
        {R"({"id":"0123456789","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"logprobs":{"content":[{"token":"hello"}]}},{"message":{"content":"a\nb"}}]})",
         8},
        {R"({"choices":[{"message":{"content":null,"reasoning_content":"hm","tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]}}]})",
         4},
        {R"({"choices":[{"text":"hello"},{"text":"you"}]})", 8},
        {R"({"type":"message","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"hello"}]})",
         7},
        {R"({"output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"hello","annotations":[]}]}]})",
         5},
        {R"({"model":"m","message":{"role":"assistant","content":"hello"},"done":true})", 5},
        {R"({"model":"m","response":"hello","context":[1,2,3]})", 5},
        {R"({"content":"hello","prompt":"a long prompt"})", 5},
        {R"({"generated_text":"hello"})", 5},
        {R"([{"generated_text":"hello"},{"generated_text":"you"}])", 8},
        {R"({"data":[{"embedding":[0.1]}]})", 0},
    };
    for (const auto& c : cases) {
        EXPECT_EQ(uncounted(c.reply, reply_form::json), c.bytes) << c.reply;
    }
}

TEST(usage, reasoning_that_is_shown)
{
    const auto shows = [](const std::string& delta) {
        bool all = true;
        bool any = false;
        each_way(reply_form::sse, event(R"({"choices":[{"index":0,"delta":)" + delta + "}]}"), 1,
                 [&](const usage_reader& reader) {
                     all = all && reader.showed_reasoning();
                     any = any || reader.showed_reasoning();
                 });
        EXPECT_EQ(all, any) << delta;
        return all;
    };
    EXPECT_TRUE(shows(R"({"reasoning_content":"hm"})"));
    EXPECT_TRUE(shows(R"({"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]})"));
    EXPECT_FALSE(shows(R"({"content":"a","reasoning_content":""})"));
    EXPECT_FALSE(shows(R"({"reasoning_content":"","content":"a"})"));
    EXPECT_FALSE(shows(R"({"reasoning_content":null,"content":"a"})"));
}

} // namespace

// --- counts as servers tell them

std::string json_usage(const std::string& members)
{
    return "{\"choices\":[{\"message\":{\"content\":\"some words\"}}],\"usage\":{" + members + "}}";
}

TEST(usage, counts_that_are_told_in_another_way)
{
    // What the total has more was generated too.
    expect_json(json_usage(R"("prompt_tokens":20,"completion_tokens":198,"total_tokens":623)"),
                "20/603 final");
    expect_json(json_usage(R"("prompt_tokens":21,"completion_tokens":0,"total_tokens":81,)"
                           R"("completion_tokens_details":{"reasoning_tokens":60})"),
                "21/60 reasoning 60 final");
    expect_json(json_usage(R"("prompt_tokens":7,"completion_tokens":10,"total_tokens":3)"), "7/10 final");
    expect_json(json_usage(R"("completion_tokens":10,"total_tokens":17)"), "7/10 final");
    // Strings and fractions.
    expect_json(json_usage(R"("prompt_tokens":"7","completion_tokens":"10.0")"), "7/10 final");
    expect_json(json_usage(R"("prompt_tokens":7.9,"completion_tokens":10.00000000000000000000000000000001)"),
                "7/10 final");
    expect_json(json_usage(R"("prompt_tokens":1.5e3,"completion_tokens":1e-9)"), "1500/0 final");
    // What is no count is not told.
    for (const char* bad : {"-1", "-0.5", "null", "\"x\"", "\"\"", "true", "[10]", "{}", "NaN"})
        expect_json(json_usage("\"prompt_tokens\":7,\"completion_tokens\":" + std::string(bad)), "7/0 final");
    // Two sets of names: the one that is not 0.
    expect_json(json_usage(R"("prompt_tokens":0,"completion_tokens":0,"input_tokens":7,"output_tokens":10)"),
                "7/10 final");
    expect_json(json_usage(R"("input_tokens":0,"output_tokens":0,"prompt_tokens":7,"completion_tokens":10)"),
                "7/10 final");
    // A prompt that was told is kept.
    expect_stream(choice_event(0, usage(7, 0)) + choice_event(0, usage(0, 10)) + done, "7/10 final");
    expect_stream(choice_event(0, usage(7, 1)) + last_event(0, 10) + done, "7/10 final");
}

TEST(usage, cached_tokens_by_their_names)
{
    const std::string counts = R"("prompt_tokens":1000,"completion_tokens":10,)";
    expect_json(json_usage(counts + R"("cached_tokens":900)"), "1000/10 cached 900 final");
    expect_json(json_usage(counts + R"("prompt_cache_hit_tokens":900,"prompt_cache_miss_tokens":100)"),
                "1000/10 cached 900 final");
    expect_json(json_usage(counts + R"("prompt_tokens_details":{"cache_creation_input_tokens":900})"),
                "1000/10 written 900 final");
    expect_json(json_usage(counts + R"("prompt_tokens_details":{"cache_creation":900})"),
                "1000/10 written 900 final");
    // Anthropic's two kinds of cache writes, with their sum and without it.
    const std::string kinds =
        R"("cache_creation":{"ephemeral_5m_input_tokens":356,"ephemeral_1h_input_tokens":100})";
    for (const std::string& sum : {std::string(), std::string(R"("cache_creation_input_tokens":456,)")})
        expect_json(json_usage(R"("input_tokens":2,"output_tokens":5,)" + sum + kinds),
                    "458/5 written 456 final");
    expect_stream(
        event(R"({"choices":[{"index":0,"delta":{}}],"x_groq":{"id":"r","usage":{"prompt_tokens":7,)"
              R"("completion_tokens":10}}})"),
        "7/10");
}

TEST(usage, timings_of_several_choices)
{
    const auto end = [](unsigned index, unsigned n) {
        return event("{\"choices\":[{\"index\":" + std::to_string(index)
                     + ",\"delta\":{},\"finish_reason\":\"stop\"}],\"timings\":{\"cache_n\":6,\"prompt_n\":1,"
                       "\"predicted_n\":"
                     + std::to_string(n) + "}}");
    };
    expect_stream(end(0, 4) + end(1, 5) + done, "7/9 cached 6 final", 1, 2);
    // Usage, where there is some, says it better.
    expect_stream(end(0, 4) + last_event(7, 10) + done, "7/10 final");
    expect_stream(choice_event(0, usage(7, 10)) + end(0, 4) + done, "7/10 final");
}

TEST(usage, lists_of_replies)
{
    const auto llama = [](unsigned prompt, unsigned n) {
        return "{\"index\":0,\"content\":\"word\",\"tokens_predicted\":" + std::to_string(n)
               + ",\"tokens_evaluated\":" + std::to_string(prompt) + ",\"timings\":{\"predicted_n\":99}}";
    };
    const std::string list = "[" + llama(3, 4) + "," + llama(5, 6) + "]";
    expect_json(list, "8/10 final");
    // Two choices of one prompt.
    each_way(
        reply_form::json, "[" + llama(3, 4) + "," + llama(3, 6) + "]", 1,
        [](const usage_reader& reader) { ASSERT_EQ(told(reader), "3/10 final"); }, 2);
    // And as a stream, where each event says whose it is.
    const auto part = [](unsigned index, unsigned prompt, unsigned n, bool ends) {
        return event("{\"index\":" + std::to_string(index) + ",\"content\":\"a\",\"stop\":"
                     + (ends ? "true" : "false") + ",\"tokens_predicted\":" + std::to_string(n)
                     + ",\"tokens_evaluated\":" + std::to_string(prompt) + "}");
    };
    each_way(
        reply_form::sse,
        event("null") + part(0, 2, 1, false) + part(1, 1, 1, false) + part(1, 1, 6, true)
            + part(0, 2, 6, true),
        2, [](const usage_reader& reader) { ASSERT_EQ(told(reader), "3/12 final"); }, 2);
    // Text without counts, and ranks.
    each_way(reply_form::json, R"([{"generated_text":"some words"},{"generated_text":"more"}])", 1,
             [](const usage_reader& reader) {
                 ASSERT_EQ(told(reader), "unknown");
                 ASSERT_TRUE(reader.generates());
                 ASSERT_EQ(reader.uncounted_text().bytes, 14u);
             });
    for (const char* vectors :
         {R"([{"index":1,"score":1.4}])", "[[0.1,0.2]]", "[0.1]", R"([{"embedding":[[1]]}])"})
        each_way(reply_form::json, vectors, 1, [](const usage_reader& reader) {
            ASSERT_TRUE(reader.has_vectors());
            ASSERT_FALSE(reader.generates());
        });
}

TEST(usage, forms_by_the_first_bytes)
{
    const std::string lines =
        "{\"message\":{\"content\":\"a\"},\"done\":false}\n"
        "{\"message\":{\"content\":\"\"},\"done\":true,\"prompt_eval_count\":7,\"eval_count\":10}\n";
    const std::string json = json_usage(R"("prompt_tokens":7,"completion_tokens":10)");
    for (const reply_form said : {reply_form::json, reply_form::sse, reply_form::unknown}) {
        for (const char* before : {"", "\n \r\n", "\xef\xbb\xbf"}) {
            const auto check = [](reply_form form) {
                return [form](const usage_reader& reader) {
                    ASSERT_EQ(told(reader), "7/10 final");
                    ASSERT_EQ(reader.form(), form);
                };
            };
            each_way(said, before + plain, 1, check(reply_form::sse));
            each_way(said, before + replaced("event: x\n" + plain, "data: ", "data:"), 1,
                     check(reply_form::sse));
            each_way(said, before + std::string(": ping\n\n") + plain, 1, check(reply_form::sse));
            each_way(said, before + json, 1, check(reply_form::json));
            each_way(said, before + lines, 1, check(reply_form::lines));
            each_way(said, before + replaced(lines, "}\n{", "}{"), 1,
                     [&](const usage_reader& reader) { ASSERT_EQ(reader.form(), reply_form::lines); });
        }
        for (const char* text : {"nonsense", "dat", "events: x", "<html>", "\xef\xbb", "Id: 1"})
            each_way(said, text, 1, [&](const usage_reader& reader) {
                ASSERT_EQ(told(reader), "unknown");
                ASSERT_EQ(reader.form(), said == reply_form::sse && text[0] != '\xef' ? said : reader.form());
            });
    }
}

TEST(usage, what_follows_a_json_text)
{
    for (const char* more : {"}", "x", "[", "\"", "} {", "x\n{\"eval_count\":3}"})
        each_way(reply_form::json, "{\"eval_count\":10}\n" + std::string(more), 1,
                 [](const usage_reader& reader) {
                     ASSERT_EQ(told(reader), "0/10 final");
                     ASSERT_EQ(reader.form(), reply_form::json);
                 });
}

TEST(usage, events_without_empty_lines)
{
    const std::string text = replaced(delta("a") + delta("b") + last_event(7, 10) + done, "\n\n", "\n");
    expect_stream(text, "7/10 final");
    each_way(reply_form::sse, text, 1, [](const usage_reader& reader) {
        ASSERT_TRUE(reader.done_seen());
        ASSERT_EQ(reader.shown_text().bytes, 2u);
    });
}

TEST(usage, the_end_of_a_reply)
{
    const auto state = [](const std::string& text, uint32_t choices = 1, reply_form form = reply_form::sse) {
        std::string is;
        each_way(
            form, text, 1,
            [&](const usage_reader& reader) {
                is = std::string(reader.whole() ? "whole" : "open") + (reader.lacks_end() ? " broken" : "");
            },
            choices);
        return is;
    };
    const auto finish = [](unsigned index) {
        return event("{\"choices\":[{\"index\":" + std::to_string(index)
                     + ",\"delta\":{},\"finish_reason\":\"stop\"}]}");
    };
    EXPECT_EQ(state(delta("a")), "open broken");
    EXPECT_EQ(state(delta("a") + done), "whole");
    EXPECT_EQ(state(delta("a") + finish(0)), "whole");
    // What is no JSON says nothing.
    EXPECT_EQ(state(delta("a") + replaced(finish(0), "}]}", "}]")), "open broken");
    EXPECT_EQ(state(delta("a") + finish(0), 2), "open");
    EXPECT_EQ(state(delta("a") + finish(0) + finish(0), 2), "open");
    EXPECT_EQ(state(delta("a") + finish(1) + finish(0), 2), "whole");
    // llama.cpp's order: the index follows.
    const auto early = [](unsigned index) {
        return event("{\"choices\":[{\"finish_reason\":\"stop\",\"index\":" + std::to_string(index)
                     + ",\"delta\":{}}]}");
    };
    EXPECT_EQ(state(delta("a") + early(1), 2), "open");
    EXPECT_EQ(state(delta("a") + early(1) + early(1), 2), "open");
    EXPECT_EQ(state(delta("a") + early(1) + early(0), 2), "whole");
    EXPECT_EQ(state(delta("a", "," + usage(7, 10))), "open");
    EXPECT_EQ(state(event(R"({"x":1})")), "open");
    EXPECT_EQ(state(event(R"({"type":"message_start","message":{}})")), "open broken");
    // Usage at a stream's begin is no end of it.
    const std::string start =
        event(R"({"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":1}}})");
    EXPECT_EQ(state(start), "open broken");
    EXPECT_EQ(state(start + event(R"({"type":"content_block_delta","delta":{"text":"a"}})")), "open broken");
    EXPECT_EQ(state(start + event(R"({"type":"message_delta","delta":{},"usage":{"output_tokens":9}})")),
              "open");
    EXPECT_EQ(state(start + event(R"({"type":"message_stop"})")), "whole");
    EXPECT_EQ(state(event(R"({"type":"message_delta","delta":{"stop_reason":null}})")), "open");
    EXPECT_EQ(state(event(R"({"type":"message_delta","delta":{"stop_reason":"end_turn"}})")), "whole");
    EXPECT_EQ(state(event(R"({"type":"message_stop"})")), "whole");
    EXPECT_EQ(state(event(R"({"type":"response.created"})")), "open broken");
    EXPECT_EQ(state(event(R"({"type":"response.completed","response":{}})")), "whole");
    EXPECT_EQ(state("{\"done\":false}\n", 1, reply_form::lines), "open");
    EXPECT_EQ(state("{\"done\":true}\n", 1, reply_form::lines), "whole");
    EXPECT_EQ(state(event(R"({"candidates":[{"finishReason":"STOP"}]})")), "whole");
}

TEST(usage, nothing_that_was_generated)
{
    const auto nothing = [](const std::string& text) {
        bool is = false;
        each_way(reply_form::json, text, 1, [&](const usage_reader& reader) { is = reader.told_nothing(); });
        return is;
    };
    EXPECT_TRUE(nothing(R"({"choices":[{"text":""}],"usage":{"prompt_tokens":0,"completion_tokens":0}})"));
    EXPECT_TRUE(nothing(R"({"status":"queued","output":[],"usage":null,"text":{"format":{"type":"text"}}})"));
    EXPECT_FALSE(nothing(R"({"choices":[{"text":"a"}],"usage":{"prompt_tokens":0,"completion_tokens":0}})"));
    EXPECT_FALSE(nothing(R"({"choices":[{"text":""}]})"));
    EXPECT_FALSE(nothing(R"({"choices":[{"x":"a"}],"usage":{"prompt_tokens":0,"completion_tokens":0}})"));
    EXPECT_FALSE(nothing(R"({"status":"completed","output":[]})"));
}
