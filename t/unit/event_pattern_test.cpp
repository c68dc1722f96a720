#include "core/reply/event_pattern.h"

#include "core/reply/usage.h"
#include "pieces.h"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

namespace {

using namespace llm;

std::string chunk(const std::string& content, const std::string& usage, const std::string& behind = "",
                  const std::string& id = "c1")
{
    return R"(data: {"id":")" + id + R"(","created":17,"choices":[{"index":0,"delta":{"content":")" + content
           + R"("},"finish_reason":null}],"usage":)" + usage + behind + "}\n\n";
}

std::string counts(int prompt, int completion)
{
    return R"({"prompt_tokens":)" + std::to_string(prompt) + R"(,"total_tokens":)"
           + std::to_string(prompt + completion) + R"(,"completion_tokens":)" + std::to_string(completion)
           + "}";
}

size_t size_like(event_pattern& pattern, const std::string& piece)
{
    event_pattern::found found;
    return pattern.match(piece, found) ? found.size : 0;
}

bool learns(event_pattern& pattern, const std::string& event)
{
    if (!pattern.draft(event)) {
        return false;
    }
    chunk_facts facts;
    facts.choices = 1;
    pattern.learn(facts);
    return size_like(pattern, event) == event.size();
}

TEST(event_pattern, finds_what_differs_in_known_places)
{
    event_pattern pattern;
    ASSERT_TRUE(learns(pattern, chunk("a", counts(7, 1), R"(,"obfuscation":"xyz")")));

    const std::string longer =
        chunk(R"(so \"much\" \u4f60)", counts(7, 123456), R"(,"obfuscation":"q")", "c-22");
    const std::string piece = longer + "data: more";
    event_pattern::found found;
    ASSERT_TRUE(pattern.match(piece, found));
    ASSERT_EQ(found.size, longer.size());
    EXPECT_EQ(found.usage[usage_field::completion], 123456u);
    EXPECT_EQ(found.usage[usage_field::prompt], 7u);
    const std::string cut = longer.substr(0, found.erase_begin) + longer.substr(found.erase_end);
    EXPECT_EQ(cut.find("usage"), std::string::npos);
    EXPECT_TRUE(cut.ends_with(R"(null}],"obfuscation":"q"})"
                              "\n\n"))
        << cut;
}

TEST(event_pattern, takes_nothing_that_differs_elsewhere_or_is_not_valid)
{
    event_pattern pattern;
    const std::string event = chunk("a", counts(7, 1));
    ASSERT_TRUE(learns(pattern, event));
    for (const std::string& other : {
             chunk("", counts(7, 1)),
             chunk("\\x", counts(7, 1)),
             chunk("\\u12g4", counts(7, 1)),
             chunk("a\tb", counts(7, 1)),
             chunk("a\",\"b\":\"", counts(7, 1)),
             chunk("a", R"({"prompt_tokens":07,"total_tokens":8,"completion_tokens":1})"),
             chunk("a", R"({"prompt_tokens":,"total_tokens":8,"completion_tokens":1})"),
             chunk("a", R"({"prompt_tokens":7.5,"total_tokens":8,"completion_tokens":1})"),
             chunk("a", R"({"prompt_tokens":7e1,"total_tokens":8,"completion_tokens":1})"),
             chunk("a", R"({"prompt_tokens":-7,"total_tokens":8,"completion_tokens":1})"),
             chunk("a", R"({"prompt_tokens":9999999999,"total_tokens":8,"completion_tokens":1})"),
             chunk("a", "null"),
             chunk("a", counts(7, 1), R"(,"error":{})"),
             event.substr(0, event.size() - 1),
             event.substr(0, event.size() / 2),
             std::string(),
         }) {
        EXPECT_EQ(size_like(pattern, other), 0u) << other;
    }
}

TEST(event_pattern, is_made_of_the_usual_form_only)
{
    for (const std::string& event : {
             std::string("data: {\"usage\":null,\"choices\":[{}]}\n\n"),
             std::string("data:{\"choices\":[{}],\"usage\":null}\n\n"),
             std::string("data: {\"choices\":[{}],\"usage\":null}\r\n\r\n"),
             std::string("data: {\"choices\":[{}],\ndata: \"usage\":null}\n\n"),
             chunk("a", counts(7, 1), R"(,"usage":null)"),
             chunk("a", counts(7, 1), R"(,"error":{"message":"x"})"),
             chunk("a", counts(7, 1), R"(,"timings":{"prompt_n":1})"),
             chunk("a", counts(7, 1), R"(,"x":{"usage":1})"),
             chunk("a", counts(7, 1), R"(,"\u0075sage":null)"),
             chunk("a", R"({"prompt_tokens":7,"prompt_tokens":"x"})"),
             chunk("a", R"({"prompt_tokens":7,"prompt\u005ftokens":8})"),
             chunk(std::string(event_pattern::max_size, 'x'), counts(7, 1)),
         }) {
        event_pattern pattern;
        EXPECT_FALSE(learns(pattern, event)) << event;
    }
}

reply_piece piece_of(const std::string& event)
{
    return {event.data(), event.size(), 0, 0};
}

TEST(event_pattern, takes_a_time_of_ten_digits_for_one_that_may_differ)
{
    const auto at_time = [](const std::string& created) {
        return "data: {\"created\":" + created + ",\"choices\":[{\"index\":0}],\"usage\":null}\n\n";
    };
    event_pattern pattern;
    ASSERT_TRUE(learns(pattern, at_time("1763678400")));
    EXPECT_NE(size_like(pattern, at_time("1763678401")), 0u);
    EXPECT_NE(size_like(pattern, at_time("999999999999999999")), 0u);
    EXPECT_EQ(size_like(pattern, at_time("1000000000000000000")), 0u);
    EXPECT_EQ(size_like(pattern, at_time("017")), 0u);
}

TEST(event_pattern, takes_many_that_differ_in_one_text)
{
    event_pattern pattern;
    ASSERT_TRUE(learns(pattern, chunk("a", "null")));
    const std::string events[] = {
        chunk("b", "null"),
        chunk("longer", "null"),
        chunk("so \\\"much\\\" \\u4f60", "null"),
        chunk("a\",\"finish_reason\":\"b", "null"),
    };
    std::vector<reply_piece> pieces;
    for (const std::string& event : events) {
        pieces.push_back(piece_of(event));
    }
    ASSERT_EQ(pattern.match_nulls(pieces), 3u);
    for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(events[i].substr(pieces[i].erase_begin, pieces[i].erase_end - pieces[i].erase_begin),
                  ",\"usage\":null");
    }
}

TEST(event_pattern, takes_none_of_the_many_that_differ_elsewhere)
{
    event_pattern pattern;
    const std::string event = chunk("a", "null");
    ASSERT_TRUE(learns(pattern, event));
    for (const std::string& other : {
             chunk("", "null"),
             chunk("\\x", "null"),
             chunk("a\tb", "null"),
             chunk("a\n\ndata: {", "null"),
             chunk("a", "null", "", "c2"),
             chunk("a", counts(7, 1)),
             event + event,
             event.substr(0, event.size() - 1),
             event.substr(1),
             std::string(),
         }) {
        reply_piece piece = piece_of(other);
        EXPECT_EQ(pattern.match_nulls({&piece, 1}), 0u) << other;
    }
}

// Events of many streams come mixed: those of the one that was seen last are the fast ones.
TEST(event_pattern, follows_the_stream_that_was_seen_last)
{
    event_pattern pattern;
    ASSERT_TRUE(learns(pattern, chunk("a", "null", "", "c1")));
    const std::string other = chunk("b", "null", "", "c2");
    reply_piece piece = piece_of(other);
    ASSERT_EQ(pattern.match_nulls({&piece, 1}), 0u);
    ASSERT_EQ(size_like(pattern, other), other.size());
    EXPECT_EQ(pattern.match_nulls({&piece, 1}), 1u);

    // What has moved in it is not followed, nor is what varies.
    for (const std::string& moved : {chunk("b", "null", "", "c33"), chunk("b", counts(1, 2), "", "c4")}) {
        size_like(pattern, moved);
        EXPECT_EQ(pattern.match_nulls({&piece, 1}), 1u);
    }
}

bool holds(const auto& object, std::string_view text)
{
    return std::string_view(reinterpret_cast<const char*>(&object), sizeof object).find(text)
           != std::string_view::npos;
}

TEST(event_pattern, keeps_no_text_of_the_model)
{
    event_pattern pattern{};
    ASSERT_TRUE(learns(pattern, chunk("first secret", "null")));
    const std::string second = chunk("second secret", "null", "", "c2");
    ASSERT_EQ(size_like(pattern, second), second.size());
    ASSERT_TRUE(pattern.draft(chunk("third secret", "null")));
    pattern.forget();
    ASSERT_TRUE(learns(pattern, chunk("fourth secret", "null")));
    EXPECT_TRUE(holds(pattern, "choices"));
    EXPECT_FALSE(holds(pattern, "secret"));
}

// An event whose choice has this delta.
std::string with_delta(const std::string& delta)
{
    return R"(data: {"id":"c1","choices":[{"index":0,"delta":)" + delta
           + R"(,"finish_reason":null}],"usage":null})" + "\n\n";
}

// Wherever in a chunk somebody's words may be, also where no server is known to put them.
const std::vector<std::string> chunks_with_secrets = {
    with_delta(R"({"content":"secret"})"),
    with_delta(R"({"content":null,"reasoning_content":"secret","reasoning":"secret"})"),
    with_delta(R"({"refusal":"secret"})"),
    with_delta(R"({"thinking":"secret","signature":"secret"})"),
    with_delta(R"({"audio":{"id":"a1","transcript":"secret","data":"secret"}})"),
    with_delta(R"({"tool_calls":[{"index":0,"function":{"name":"secret","arguments":""}}]})"),
    with_delta(R"({"tool_calls":[{"index":0,"function":{"arguments":"{\"secret\":1}"}}]})"),
    with_delta(R"({"tool_calls":[{"index":0,"function":{"arguments":{"secret":1}}}]})"),
    with_delta(R"({"tool_calls":[{"index":0,"function":{"arguments":{"id":"secret"}}}]})"),
    with_delta(R"({"content":[{"type":"text","text":"secret"}]})"),
    with_delta(R"({"content":["secret"]})"),
    with_delta(R"({"content":[[ "secret" ]]})"),
    with_delta(R"({"annotations":[{"title":"secret"}]})"),
    with_delta(R"({"content":""},"logprobs":{"content":[{"token":"secret","logprob":-1}]})"),
    with_delta(R"({"content":""},"logprobs":{"tokens":["secret"],"top_logprobs":[{"secret":-1}]})"),
    with_delta(R"({"content":""},"stop_reason":"secret")"),
    with_delta(R"({"content":""},"matched_stop":"secret")"),
    with_delta(R"({"content":"","\u0061bc":"secret"})"),
    chunk("a", "null", R"(,"metadata":{"model":"secret"})"),
    chunk("a", "null", R"(,"metadata":{"weight_version":"v","model":"secret"})"),
    chunk("a", "null", R"(,"created_by":"secret")"),
    chunk("a", R"({"prompt_tokens":"secret"})"),
    chunk("a", R"({"prompt_tokens":1,"x":{"secret":1}})"),
    chunk("a", R"({"prompt_tokens":1})", R"(,"user":"secret")"),
    chunk("a", "null", R"(,"error":"secret")"),
    chunk("a", "null", R"(,"prompt":"secret","usage":null)"),
    "data: {\"choices\":[],\"text\":\"secret\",\"usage\":null}\n\n",
    "data: {\"type\":\"x\",\"text\":\"secret\"}\n\n",
    "data: {\"text\":\"secret\",}\n\n",
};

TEST(event_pattern, keeps_no_text_that_somebody_wrote)
{
    for (const std::string& event : chunks_with_secrets) {
        for (const std::string& before : {std::string(), chunk("a", "null")}) {
            usage_patterns patterns{}; // zeroed: what was on the stack is not its own
            usage_reader reader;
            reader.start(reply_form::sse, 1, strip_what::all, &patterns);
            reader.feed(before + event, {});
            EXPECT_FALSE(holds(patterns, "secret")) << before << event;
            reader.feed(event + event, {});
            reader.feed(chunk("a", counts(1, 2)), {});
            EXPECT_FALSE(holds(patterns, "secret")) << before << event;
        }
    }
}

// What servers send with each chunk of text. Without a pattern it would be read, which takes longer.
TEST(event_pattern, is_made_of_what_servers_send)
{
    const std::string vllm =
        R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null,"token_ids":null}],"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1}})";
    const std::string sglang =
        R"(data: {"id":"1","object":"chat.completion.chunk","created":17,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":"a","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null})";
    const std::string openai =
        R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"m","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":"a","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"xyz"})";
    const std::string azure =
        R"(data: {"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}},"delta":{"content":"a"},"finish_reason":null,"index":0,"logprobs":null}],"created":17,"id":"1","model":"m","object":"chat.completion.chunk","system_fingerprint":"fp_1","usage":null})";
    const std::string tool =
        R"(data: {"id":"1","object":"chat.completion.chunk","created":17,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"arguments":"a"}}]},"finish_reason":null}],"usage":null})";
    const std::string legacy =
        R"(data: {"id":"1","object":"text_completion","created":17,"model":"m","choices":[{"index":0,"text":"a","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null})";
    for (const std::string& event : {vllm, sglang, openai, azure, tool, legacy}) {
        event_pattern pattern;
        EXPECT_TRUE(learns(pattern, event + "\n\n")) << event;
    }
}

struct seen {
    std::string text;
    std::string out;
    uint64_t at = 0;
    std::string counts;

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
           + std::to_string(reader.uncounted_text().bytes) + '/' + std::to_string(reader.settled()) + ' ';
}

seen read(const std::vector<std::string>& events, strip_what strip, usage_patterns* patterns)
{
    seen all;
    usage_reader reader;
    reader.start(reply_form::sse, 1, strip, patterns);
    const erase_sink erase{seen::erase, &all};
    for (const std::string& event : events) {
        all.text += event;
        reader.feed(event, erase);
        all.counts += told(reader);
    }
    reader.finish(erase);
    all.out += all.text.substr(all.at);
    return all;
}

// The same, with as many at once as the reader passes over. `counts` are the last ones only.
seen pass(const std::vector<std::string>& events, strip_what strip, usage_patterns* patterns)
{
    seen all;
    usage_reader reader;
    reader.start(reply_form::sse, 1, strip, patterns);
    const erase_sink erase{seen::erase, &all};
    std::vector<reply_piece> pieces;
    for (const std::string& event : events) {
        all.text += event;
        pieces.push_back(piece_of(event));
    }
    uint64_t offset = 0;
    for (std::span<reply_piece> rest(pieces); !rest.empty();) {
        const size_t n = reader.pass(rest);
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
    all.counts = told(reader);
    reader.finish(erase);
    all.out += all.text.substr(all.at);
    return all;
}

TEST(event_pattern, changes_nothing_that_is_told)
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
        "data: {\"choices\":[{\"index\":0,\"usage\":" + counts(1, 1) + "}],\"usage\":" + counts(7, 5)
            + "}\n\n",
    };
    usage_patterns shared;
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
        for (const strip_what strip :
             {strip_what::nothing, strip_what::running, strip_what::last, strip_what::all}) {
            const seen with = read(events, strip, &shared);
            const seen without = read(events, strip, nullptr);
            ASSERT_EQ(with.out, without.out);
            ASSERT_EQ(with.counts, without.counts);
            const seen passed = pass(events, strip, &shared);
            ASSERT_EQ(passed.out, without.out);
            ASSERT_TRUE(without.counts.ends_with(' ' + passed.counts)) << passed.counts;
        }
    }
}

} // namespace
