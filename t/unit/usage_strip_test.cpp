// What a client gets of a stream in which the gateway has asked for usage must be what it would have got
// without, in whatever pieces the stream comes.
#include "core/reply/usage.h"

#include "pieces.h"

#include <gtest/gtest.h>

#include <string>

using namespace llm;

namespace {

const std::string done = "data: [DONE]\n\n";
const std::string counts = R"({"prompt_tokens":7,"completion_tokens":10,"total_tokens":17})";
const std::string last = "data: {\"id\":\"c\",\"choices\":[],\"usage\":" + counts + "}\n\n";

// A chunk with this before and behind its choices.
std::string chunk(const std::string& before, const std::string& behind)
{
    return "data: {" + before + R"("choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}])"
           + behind + "}\n\n";
}

const std::string plain = chunk(R"("id":"c",)", R"(,"x":1)");

// The bytes that go on, as the caller of usage_reader lets them.
class client {
public:
    explicit client(strip_what what) { reader_.start(reply_form::sse, 1, what); }

    void feed(std::string_view piece)
    {
        all_ += piece;
        reader_.feed(piece, {erase, this});
        pass(reader_.settled());
        held_ = std::max(held_, all_.size() - passed_);
    }
    std::string finish()
    {
        reader_.finish({erase, this});
        pass(all_.size());
        return out_;
    }
    size_t held() const { return held_; }
    const usage_reader& reader() const { return reader_; }

private:
    static void erase(void* self, uint64_t begin, uint64_t end)
    {
        auto& c = *static_cast<client*>(self);
        ASSERT_LE(c.passed_, begin);
        ASSERT_LT(begin, end);
        ASSERT_LE(end, c.all_.size());
        c.pass(begin);
        c.passed_ = end;
    }
    void pass(uint64_t end)
    {
        ASSERT_LE(end, all_.size());
        if (end > passed_) {
            out_ += all_.substr(passed_, end - passed_);
            passed_ = end;
        }
    }

    usage_reader reader_;
    std::string all_;
    std::string out_;
    uint64_t passed_ = 0;
    size_t held_ = 0;
};

void expect(strip_what what, const std::string& stream, const std::string& rest)
{
    for (const std::string& before : {std::string(), plain}) {
        every_way(before + stream, [&](const auto& pieces) {
            client c(what);
            for (const std::string_view piece : pieces) {
                c.feed(piece);
            }
            ASSERT_EQ(c.finish(), before + rest) << stream;
        });
    }
}

TEST(usage_strip, the_last_chunk_goes)
{
    expect(strip_what::all, plain + last + done, plain + done);
    expect(strip_what::all, last + done, done);
    expect(strip_what::all, last + last + done, done);
    expect(strip_what::all, plain + last, plain);
    expect(strip_what::running, plain + last + done, plain + last + done);
    expect(strip_what::nothing, plain + last + done, plain + last + done);
    // The stream ends without an empty line.
    expect(strip_what::all, plain + last.substr(0, last.size() - 2), plain);
}

TEST(usage_strip, the_last_chunk_only)
{
    const std::string running = chunk("", ",\"usage\":" + counts);
    expect(strip_what::last, running + last + done, running + done);
    expect(strip_what::last, chunk("\"usage\":null,", "") + last + done, chunk("\"usage\":null,", "") + done);
    const std::string unasked = "data: {\"choices\":[],\"usage\":null}\n\n";
    expect(strip_what::last, unasked + done, unasked + done);
}

TEST(usage_strip, usage_of_other_chunks_goes)
{
    for (const strip_what what : {strip_what::all, strip_what::running}) {
        for (const std::string& usage : {std::string("null"), counts, std::string("{}"), std::string("7"),
                                         std::string(R"({"a":{"b":[1,{"usage":2}]}})")}) {
            expect(what, chunk("", ",\"usage\":" + usage), chunk("", ""));
            expect(what, chunk("", ",\"usage\":" + usage + ",\"x\":1"), chunk("", ",\"x\":1"));
            expect(what, chunk("\"id\":1,\"usage\":" + usage + ",", ""), chunk("\"id\":1,", ""));
            expect(what, chunk("\"usage\":" + usage + ",", ""), chunk("", ""));
            expect(what, chunk("", " , \"usage\" : " + usage + " , \"x\":1"), chunk("", "  , \"x\":1"));
            expect(what, chunk("", ",\"us\\u0061ge\":" + usage), chunk("", ""));
            expect(what, chunk("", ",\"usage\":" + usage + ",\"usage\":" + usage), chunk("", ""));
            expect(what,
                   chunk("\"usage\":" + usage + ",\"usage\":" + usage + ",\"usage\":" + usage + ",", ""),
                   chunk("", ""));
        }
    }
}

TEST(usage_strip, all_else_stays)
{
    for (const strip_what what : {strip_what::all, strip_what::running}) {
        for (const std::string& stream : {
                 std::string("data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n"),
                 std::string("data: {\"choices\":[]}\n\n: ping\n\n:\n\nid: 1\n\nretry: 7\n"),
                 chunk("", ",\"used\":1,\"usages\":{},\"usag\":2"),
                 chunk("\"x\":{\"usage\":1},\"y\":[{\"usage\":2}],", ""),
                 std::string("data: {\"choices\":[{\"usage\":1}],\"text\":\"\\\"usage\\\":1\"}\n\n"),
                 std::string("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7}\n\n"),
                 chunk("", ",\"usage\":{\"prompt_tokens\":7,\"x\"y:1}"),
                 std::string("data: not json \"usage\":null\n\n"),
                 std::string("event: x\n\n\n\n\ndata\n\n"),
                 std::string("data: [DONE]"),
             }) {
            expect(what, stream, stream);
        }
    }
    // Null counts as no usage, an error is not to be lost.
    expect(strip_what::all, "data: {\"choices\":[],\"usage\":null}\n\n", "data: {\"choices\":[]}\n\n");
    expect(strip_what::all, "data: {\"error\":{},\"usage\":" + counts + "}\n\n", "data: {\"error\":{}}\n\n");
    expect(strip_what::all, "data: {\"usage\":" + counts + ",\"citations\":[1]}\n\n",
           "data: {\"citations\":[1]}\n\n");
}

TEST(usage_strip, what_more_an_event_has)
{
    const std::string all = "\"usage\":" + counts;
    for (const char* choices : {"\"choices\":[],", "\"choices\":null,", ""}) {
        for (const char* names :
             {"", "\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",",
              "\"system_fingerprint\":\"f\",\"service_tier\":null,", "\"x\":null,"}) {
            const std::string head = "data: {" + std::string(names) + choices;
            for (const strip_what what : {strip_what::all, strip_what::last}) {
                expect(what, head + all + "}\n\n" + done, done);
                for (const char* more : {"\"error\":{\"code\":502}", "\"timings\":{\"predicted_n\":4}",
                                         "\"citations\":[\"a\"]", "\"x\":1"}) {
                    expect(what, head + all + "," + more + "}\n\n", head + more + "}\n\n");
                }
            }
        }
    }
}

// A client that has asked for usage gets it with the chunk that ends a choice, where some servers have it
// only.
TEST(usage_strip, the_chunk_that_ends_a_choice)
{
    const auto with = [](const char* reason, bool usage_first) {
        const std::string choice =
            "\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":" + std::string(reason) + "}]";
        const std::string usage = "\"usage\":" + counts;
        return "data: {" + (usage_first ? usage + "," + choice : choice + "," + usage) + "}\n\n";
    };
    const auto without = [](const char* reason) {
        return "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":" + std::string(reason)
               + "}]}\n\n";
    };
    for (const bool first : {false, true}) {
        expect(strip_what::running, with("null", first) + with("\"length\"", first) + last + done,
               without("null") + with("\"length\"", first) + last + done);
        expect(strip_what::all, with("null", first) + with("\"length\"", first) + done,
               without("null") + without("\"length\"") + done);
    }
}

// What looks like a chunk and has no choices: null says nothing there, and goes as that of chunks does.
TEST(usage_strip, null_where_there_is_no_choice)
{
    const std::string null = ",\"usage\":null";
    for (const std::string list : {"chioces", "Choices", "outputs"}) {
        const auto event = [&](const std::string& behind) {
            std::string text = chunk("", behind);
            text.replace(text.find("choices"), 7, list);
            return text;
        };
        for (const strip_what what : {strip_what::all, strip_what::running}) {
            expect(what, chunk("", null) + event(null) + chunk("", null) + event(null) + last,
                   chunk("", "") + event("") + chunk("", "") + event("")
                       + (what == strip_what::all ? "" : last));
        }
    }
    expect(strip_what::running, "data: {\"choices\":[],\"usage\":null}\n\n", "data: {\"choices\":[]}\n\n");
}

TEST(usage_strip, events_without_empty_lines)
{
    const std::string chunk_line = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n";
    const std::string usage_line = "data: {\"choices\":[],\"usage\":" + counts + "}\n";
    const std::string done_line = "data: [DONE]\n";
    expect(strip_what::all, chunk_line + chunk_line + usage_line + done_line + "\n",
           chunk_line + chunk_line + done_line + "\n");
}

TEST(usage_strip, line_ends_and_other_lines)
{
    const auto with = [](std::string text, const std::string& line_end) {
        for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += line_end.size()) {
            text.replace(at, 1, line_end);
        }
        return text;
    };
    for (const char* const line_end : {"\r\n", "\r"}) {
        expect(strip_what::all, with(last + plain + last + done, line_end), with(plain + done, line_end));
    }
    expect(strip_what::all, ":\n\n: ping\n" + last + ":\n\n" + done, ":\n\n: ping\n:\n\n" + done);
    expect(strip_what::all, "event: chunk\nid: 1\n" + last + done, done);
    expect(strip_what::all, "id: 1\n" + last + "id: 2\n" + done, "id: 2\n" + done);
    expect(strip_what::all, "retry: 1\n: c\nid\n" + last + done, "retry: 1\n: c\n" + done);
    expect(strip_what::all, "data: {\"choices\":[],\ndata: \"usage\":" + counts + "\ndata: }\n\n" + done,
           done);
    expect(strip_what::all, "data: {\"choices\":[1],\ndata: \"usage\":" + counts + "\ndata: }\n\n",
           "data: {\"choices\":[1]\ndata: }\n\n");
}

TEST(usage_strip, holds_little)
{
    const std::string text(1000000, 'x');
    client big(strip_what::all);
    const std::string stream = "data: {\"id\":\"" + text + "\",\"choices\":[{\"text\":\"" + text + "\"}],\""
                               + text + "\":1,\"usage\":{\"" + text + "\":1}}\n\n" + last + done;
    for (size_t at = 0; at < stream.size(); at += 1000) {
        big.feed(std::string_view(stream).substr(at, 1000));
    }
    EXPECT_EQ(big.finish(), "data: {\"id\":\"" + text + "\",\"choices\":[{\"text\":\"" + text + "\"}],\""
                                + text + "\":1}\n\n" + done);
    EXPECT_LE(big.held(), usage_strip::max_held);

    // Of an ordinary chunk nothing is held once its first choice has begun.
    client small(strip_what::all);
    small.feed(plain + R"(data: {"id":"c","choices":[{)");
    const size_t before = small.held();
    small.feed(R"("index":0,"delta":{"content":")" + text);
    EXPECT_EQ(small.held(), before);
}

TEST(usage_strip, holds_nothing_of_whole_events)
{
    for (const std::string line_end : {"\n", "\r\n", "\r"}) {
        std::string event = plain;
        event.replace(event.size() - 2, 2, line_end + line_end);
        client of_it(strip_what::all);
        for (int i = 0; i < 3; ++i) {
            of_it.feed(event);
            EXPECT_EQ(of_it.held(), 0u) << i;
        }
    }
    // Nor of the line feed alone.
    client in_parts(strip_what::all);
    in_parts.feed(plain.substr(0, plain.size() - 2) + "\r\n\r");
    in_parts.feed("\n");
    EXPECT_EQ(in_parts.held(), 0u);
}

TEST(usage_strip, nobody_wants_to_know)
{
    // A client that left: what is still held goes nowhere.
    usage_reader reader;
    reader.start(reply_form::sse, 1, strip_what::all);
    reader.feed(plain + last.substr(0, last.size() - 2));
    reader.finish();
    EXPECT_TRUE(reader.final());
}

TEST(usage_strip, counts_the_same)
{
    client c(strip_what::all);
    c.feed(plain + plain + last + done);
    c.finish();
    EXPECT_EQ(c.reader().counts().prompt, 7u);
    EXPECT_EQ(c.reader().counts().completion, 10u);
    EXPECT_TRUE(c.reader().final());
    EXPECT_EQ(c.reader().shown_text().pieces, 2u);
}

} // namespace
