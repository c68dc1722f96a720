#include "core/event_pattern.h"

#include "core/usage.h"
#include "pieces.h"

#include <gtest/gtest.h>

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
    const std::string cut = longer.substr(0, found.cut_begin) + longer.substr(found.cut_end);
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

struct seen {
    std::string text;
    std::string out;
    uint64_t at = 0;
    std::string counts;

    static void cut(void* self, uint64_t begin, uint64_t end)
    {
        auto& s = *static_cast<seen*>(self);
        s.out += s.text.substr(s.at, begin - s.at);
        s.at = end;
    }
};

seen read(const std::vector<std::string>& events, strip_what strip, usage_patterns* patterns)
{
    seen all;
    usage_reader reader;
    reader.start(reply_form::sse, 1, strip, patterns);
    const cut_sink cuts{seen::cut, &all};
    for (const std::string& event : events) {
        all.text += event;
        reader.feed(event, cuts);
        const token_counts c = reader.counts();
        all.counts += std::to_string(c.prompt) + '/' + std::to_string(c.completion) + '/'
                      + std::to_string(reader.uncounted_bytes()) + '/' + std::to_string(reader.settled())
                      + ' ';
    }
    reader.finish(cuts);
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
        }
    }
}

} // namespace
