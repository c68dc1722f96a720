// What is read of chunks by their usage alone is what the scanner makes of them.
#include "core/reply/event_usage.h"

#include "core/reply/event_skip.h"
#include "core/reply/usage.h"
#include "pieces.h"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

namespace {

using namespace llm;

std::string counts(int prompt, int completion)
{
    return R"({"prompt_tokens":)" + std::to_string(prompt) + R"(,"total_tokens":)"
           + std::to_string(prompt + completion) + R"(,"completion_tokens":)" + std::to_string(completion)
           + "}";
}

std::string choice(const std::string& content, const std::string& index = R"("index":0,)")
{
    return "{" + index + R"("delta":{"content":")" + content + R"("},"finish_reason":null})";
}

std::string chunk(const std::string& content, const std::string& usage, const std::string& behind = "",
                  const std::string& id = "c1")
{
    return R"(data: {"id":")" + id + R"(","created":17,"choices":[)" + choice(content) + R"(],"usage":)"
           + usage + behind + "}\n\n";
}

std::string with_choices(const std::string& choices, const std::string& between = "")
{
    return R"(data: {"id":"c1","choices":[)" + choices + "]" + between + R"(,"usage":)" + counts(7, 3)
           + "}\n\n";
}

// Its text is "TEXT", and nothing ends with it.
event_usage read_of(const std::string& event)
{
    constexpr std::string_view finish = "\"finish_reason\":null";
    const size_t text = event.find("TEXT");
    const size_t null = event.find(finish);
    text_place place;
    place.set(event.data() + text, text, event[text + 5]);
    place.set_event(event.size(), event.size() - text - 4, null == event.npos ? 0 : null + finish.size(), 0);
    return read_event(event, place);
}

// What servers send with each chunk of text. Else it would be read, which takes longer.
TEST(event_usage, reads_what_servers_send)
{
    const std::string vllm =
        R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"m","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null,"token_ids":null}],"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}})";
    const std::string spaced =
        R"(data: {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "TEXT"}, "finish_reason": null}], "usage": { "prompt_tokens": 7, "completion_tokens": 3 } })";
    const std::string logprobs =
        R"(data: {"id":"1","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":{"content":[{"token":"x","logprob":-0.5,"bytes":[120],"top_logprobs":[]}]},"finish_reason":null}],"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}})";
    const std::string details =
        R"(data: {"id":"1","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":null}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"text_tokens":7,"cached_tokens":2},"completion_tokens_details":null,"cost":0.0125,"is_byok":false},"system_fingerprint":"fp_1"})";
    const std::string tool =
        R"(data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"arguments":"TEXT"}}]},"finish_reason":null}],"created":17,"usage":{"prompt_tokens":7,"completion_tokens":3}})";
    const std::string completions =
        R"(data: {"choices":[{"text":"TEXT","index":0,"logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":{"prompt_tokens":7,"completion_tokens":3},"object":"text_completion","created":17,"model":"m"})";
    for (const std::string& text : {vllm, spaced, logprobs, details, tool, completions}) {
        const std::string event = text + "\n\n";
        const event_usage read = read_of(event + "data: {\"more\":1}\n\n");
        ASSERT_EQ(read.size, event.size()) << event;
        EXPECT_EQ(read.is, event_usage::kind::counts) << event;
        EXPECT_EQ(read.counts.prompt, 7u) << event;
        EXPECT_EQ(read.counts.completion, 3u) << event;
        EXPECT_EQ(read.choice_index, 0u) << event;
        EXPECT_EQ(read.text, 4u) << event;
        const std::string cut = event.substr(0, read.erase_begin) + event.substr(read.erase_end);
        EXPECT_EQ(cut.find("usage"), cut.npos) << cut;
        EXPECT_EQ(event[read.erase_begin], ',') << event;
        EXPECT_EQ(event[read.erase_end - 1], '}') << event;
    }
    const std::string openai =
        R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"m","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":"TEXT"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"xyz"})";
    const std::string dashscope =
        R"(data: {"choices":[{"finish_reason":null,"delta":{"content":"TEXT"},"index":0,"logprobs":null}],"object":"chat.completion.chunk","usage":null,"created":17,"system_fingerprint":null,"model":"m","id":"1"})";
    for (const std::string& text : {openai, dashscope}) {
        const event_usage read = read_of(text + "\n\n");
        ASSERT_EQ(read.size, text.size() + 2) << text;
        EXPECT_EQ(read.is, event_usage::kind::null) << text;
        EXPECT_EQ(text.substr(read.erase_begin, read.erase_end - read.erase_begin), ",\"usage\":null");
    }
    EXPECT_EQ(read_of(with_choices(choice("TEXT", R"("index":3,)"))).choice_index, 3u);
}

TEST(event_usage, leaves_to_the_scanner_what_is_not_sure)
{
    for (const std::string& event : {
             chunk("TEXT", "7"),
             chunk("TEXT", R"({"prompt_tokens":07})"),
             chunk("TEXT", R"({"prompt_tokens":7.5})"),
             chunk("TEXT", R"({"prompt_tokens":7e1})"),
             chunk("TEXT", R"({"prompt_tokens":"7"})"),
             chunk("TEXT", R"({"prompt_tokens":-7})"),
             chunk("TEXT", R"({"prompt_tokens":9999999999})"),
             chunk("TEXT", R"({"prompt_tokens":7,})"),
             chunk("TEXT", R"({"prompt_tokens":7 "total_tokens":8})"),
             chunk("TEXT", R"({"prompt\u005ftokens":7})"),
             chunk("TEXT", R"({"details":{"deeper":{"x":1}}})"),
             chunk("TEXT", R"({"details":[1]})"),
             chunk("TEXT", counts(7, 1), R"(,"usage":null)"),
             chunk("TEXT", counts(7, 1), R"(,"error":{"message":"x"})"),
             chunk("TEXT", counts(7, 1), R"(,"error":"x")"),
             chunk("TEXT", counts(7, 1), R"(,"object":"error")"),
             chunk("TEXT", counts(7, 1), R"(,"timings":{"prompt_n":1})"),
             chunk("TEXT", counts(7, 1), R"(,"content":"more")"),
             chunk("TEXT", counts(7, 1), R"(,"choices":null)"),
             chunk("TEXT", counts(7, 1), R"(,"x":{"usage":1})"),
             chunk("TEXT", counts(7, 1), R"(,"\u0075sage":null)"),
             chunk("TEXT", counts(7, 1), "}"),
             chunk("TEXT", counts(7, 1) + "x"),
             chunk("TEXT", "null", R"(,"error":{"message":"x"})"),
             chunk("TEXT", "nul"),
             with_choices(choice("TEXT") + "," + choice("x")),
             with_choices(choice("TEXT") + ",{}"),
             with_choices(choice("TEXT") + ",null"),
             with_choices("{}," + choice("TEXT")),
             with_choices(choice("TEXT", "") + R"(,{"index":1})"),
             with_choices(choice("TEXT", R"("index":1,"index":0,)")),
             with_choices(choice("TEXT", R"("a":1,"index":1,)")),
             with_choices(choice("TEXT", R"("index":-1,)")),
             with_choices(choice("TEXT", R"("index":99999999,)")),
             with_choices(choice("TEXT") + R"(],"choices":[{},{})"),
             with_choices(choice("TEXT"), R"(,"prompt":"x")"),
             with_choices(choice("TEXT"), R"(,"error":{"message":"x"})"),
             std::string(R"(data: {"x":{"choices":[{"delta":{"content":"TEXT"}}]},"usage":)" + counts(7, 1)
                         + "}\n\n"),
             std::string(R"(data: {"x":{"choices":[{"delta":{"content":"TEXT"}}],"usage":)" + counts(7, 1)
                         + "}}\n\n"),
             std::string(R"(data: {"usage":null,"choices":[{"delta":{"content":"TEXT"}}]})"
                         "\n\n"),
             std::string(
                 "data: {\"choices\":[{\"delta\":{\"content\":\"TEXT\"}}],\ndata: \"usage\":null}\n\n"),
             std::string("data: {\"choices\":[{\"delta\":{\"content\":\"TEXT\"}}]\nid: ,\"usage\":null}\n\n"),
             std::string("data: {\"choices\":[{\"delta\":{\"content\":\"TEXT\"}}],\"usage\":null}\r\n\r\n"),
             std::string("data: {\"choices\":[{\"delta\":{\"content\":\"TEXT\"}}],\"usage\":null}\n"),
         }) {
        EXPECT_EQ(read_of(event).size, 0u) << event;
    }
}

// The front of an event is not proved to be JSON: internals.md, "Reading usage".
TEST(event_usage, bears_damage_in_front)
{
    const std::string event =
        R"(data: {"id":"c1" oops,"choices":[)" + choice("TEXT") + R"(],"usage":)" + counts(7, 3) + "}\n\n";
    EXPECT_EQ(read_of(event).size, event.size());
}

struct seen {
    std::string text;
    std::string out;
    uint64_t at = 0;
    std::string told;

    static void erase(void* self, uint64_t begin, uint64_t end)
    {
        auto& s = *static_cast<seen*>(self);
        s.out += s.text.substr(s.at, begin - s.at);
        s.at = end;
    }
};

std::string told(const usage_reader& reader)
{
    const token_counts c = reader.counts();
    return std::to_string(c.prompt) + '/' + std::to_string(c.completion) + '/'
           + std::to_string(reader.uncounted_text().bytes) + '/'
           + std::to_string(reader.uncounted_text().pieces) + '/' + std::to_string(reader.shown_text().bytes)
           + '/' + std::to_string(reader.settled());
}

// `size`: bytes a piece; one at a time is the scanner alone.
seen read(const std::string& text, strip_what strip, size_t size)
{
    seen all;
    usage_reader reader;
    reader.start(reply_form::sse, 1, strip);
    const erase_sink erase{seen::erase, &all};
    for (size_t at = 0; at < text.size(); at += size) {
        const std::string piece = text.substr(at, size);
        all.text += piece;
        reader.feed(piece, erase);
    }
    all.told = told(reader);
    reader.finish(erase);
    all.out += all.text.substr(all.at);
    return all;
}

// With as many events at once as the reader passes over.
seen pass(const std::vector<std::string>& events, strip_what strip)
{
    seen all;
    usage_reader reader;
    reader.start(reply_form::sse, 1, strip);
    const erase_sink erase{seen::erase, &all};
    std::vector<reply_piece> pieces;
    for (const std::string& event : events) {
        all.text += event;
        pieces.push_back({event.data(), event.size(), 0, 0});
    }
    uint64_t offset = 0;
    for (std::span<reply_piece> rest(pieces); !rest.empty();) {
        const bool is_held = reader.settled() != reader.offset();
        const size_t n = reader.pass(rest);
        EXPECT_TRUE(n == 0 || !is_held); // or else they would go out before what is held
        for (const reply_piece& piece : rest.first(n)) {
            if (piece.erase_end != 0) {
                erase(offset + piece.erase_begin, offset + piece.erase_end);
            }
            offset += piece.size;
        }
        rest = rest.subspan(n);
        if (!rest.empty()) {
            reader.feed(rest[0].bytes(), erase);
            offset += rest[0].size;
            rest = rest.subspan(1);
        }
        EXPECT_EQ(reader.offset(), offset);
    }
    all.told = told(reader);
    reader.finish(erase);
    all.out += all.text.substr(all.at);
    return all;
}

TEST(event_usage, changes_nothing_that_is_told)
{
    const std::vector<std::string> kinds = {
        chunk("word", counts(7, 1)),
        chunk("", counts(7, 2)),
        chunk("x", "null"),
        chunk("more \\n", counts(7, 30)),
        chunk("y", counts(0, 0)),
        chunk("q", "null", "", "c2"),
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        chunk("z", "null", R"(,"obfuscation":"o")"),
        chunk("z", counts(7, 31), R"(,"error":null)", "another"),
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}],\"usage\":" + counts(7, 4)
            + "}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
        "data: {\"choices\":[],\"usage\":" + counts(7, 99) + "}\n\n",
        with_choices(choice("two") + "," + choice("b", R"("index":1,)")),
        with_choices(choice("two") + R"(,{"index":2})"),
        "data: {\"choices\":[{\"index\":0,\"usage\":" + counts(1, 1) + "}],\"usage\":" + counts(7, 5)
            + "}\n\n",
        // What ends as most that are null do, but is more than that.
        chunk("v", counts(7, 40), R"(,"usage":null)"),
        chunk("v", "null", R"(,"usage":null)"),
        chunk("v", "null", "}\n: a comment,\"usage\":null"),
        R"(data: {"id":"c1","created":17,"choices":[)" + choice("v") + "]}\n:,\"usage\":null}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"}}]}\ndata: ,\"usage\":null}\n\n",
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"}}],\"x\":{\"usage\":1},\"usage\":null}\n\n",
        "data: {,\"usage\":null}\n\n",
        // Lines that come alone.
        "id: 19\n",
        "retry: 3000\n",
        ": a comment\n",
        "event:\n",
    };
    uint32_t random = 1;
    for (int round = 0; round < 300; ++round) {
        std::vector<std::string> events = {chunk("first", "null")};
        for (int i = 0; i < 40; ++i) {
            random = random * 1664525 + 1013904223;
            const std::string& event = kinds[(random >> 24) % kinds.size()];
            for (uint32_t n = 1 + (random >> 16) % 4; n != 0; --n) {
                events.push_back(event);
            }
        }
        std::string text;
        for (const std::string& event : events) {
            text += event;
        }
        for (const strip_what strip :
             {strip_what::nothing, strip_what::running, strip_what::last, strip_what::all}) {
            const seen scanned = read(text, strip, 1);
            for (const seen& quick :
                 {read(text, strip, text.size()), read(text, strip, 700), pass(events, strip)}) {
                ASSERT_EQ(quick.out, scanned.out);
                ASSERT_EQ(quick.told, scanned.told);
            }
        }
    }
}

} // namespace
