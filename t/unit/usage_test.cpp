// The numbers in names are those of the list of hard cases that the wire formats of the servers gave.
#include "core/request_facts.h"
#include "core/usage.h"

#include "pieces.h"

#include <gtest/gtest.h>

#include <type_traits>

using namespace llm;

namespace {

static_assert(
    std::is_trivially_destructible_v<usage_reader> && std::is_trivially_destructible_v<request_facts>);
static_assert(sizeof(usage_reader) + sizeof(request_facts) <= 1536, "both lie in each request's context");

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
    if (c.reasoning != 0)
        all += " reasoning " + std::to_string(c.reasoning);
    return all + (reader.final() ? " final" : "");
}

template <typename Check>
void each_way(reply_form form, std::string_view text, uint32_t prompts, Check&& check)
{
    every_way(text, [&](const auto& pieces) {
        usage_reader reader;
        reader.start(form, prompts);
        for (const std::string_view piece : pieces)
            reader.feed(piece);
        reader.finish();
        check(reader);
    });
}

// Also after content, when events that can not tell anything are passed over.
void expect_stream(const std::string& text, const std::string& expected, uint32_t prompts = 1)
{
    const auto check = [&](const usage_reader& reader) {
        ASSERT_EQ(told(reader), expected) << text.substr(0, 500);
    };
    each_way(reply_form::sse, text, prompts, check);
    if (!text.starts_with("\xef"))
        each_way(reply_form::sse, delta("x") + text, prompts, check);
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
    expect_stream(last_event(7, 4) + last_event(7, 6) + done, "7/10 final");
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
          "{\"usage\":{\"prompt_tokens\":\"7\"}}", "{\"usage\":{\"prompt_tokens\":-7}}",
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

TEST(usage, stream_bad_events_do_not_count)
{
    expect_stream("data: {\"choices\":[]," + usage(7, 10) + "\n\n", "unknown");
    expect_stream("data: {\"choices\":[]," + usage(7, 10) + "}}\n\n" + done, "unknown");
    expect_stream("data: {\"choices\":[]," + usage(7, 10) + "}\ndata: {}\n\n", "unknown");
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
    EXPECT_FALSE(
        seen(R"({"delta":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":""}}]}})"));
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
    expect_stream(big + big, "4294967295/8589934590 final");
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
    for (const char* type : {"", "application/jsonl", "application/json-seq", "application/x-ndjson",
                             "text/plain", "text/html", "text/event-streams"})
        EXPECT_EQ(reply_form_of(type), reply_form::none) << type;
}

} // namespace
