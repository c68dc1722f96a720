#include "core/request/usage_inject.h"

#include "body_edits.h"
#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

struct outcome {
    std::string body;
    bool final = false;
    bool running = false;
};

// What goes upstream, the same in any pieces.
outcome injected(std::string_view body, usage_inject mode)
{
    outcome all;
    bool first = true;
    every_way(body, [&](const auto& pieces) {
        request_facts facts;
        for (const std::string_view piece : pieces)
            facts.feed(piece);
        ASSERT_EQ(facts.finish(), body_fault::none) << body;
        body_edit edit(facts.root_end());
        const injected_usage asked = inject_usage(facts, mode, edit);
        const outcome one = {asked.any() ? edited(body, edit) : std::string(body), asked.final,
                             asked.running};
        if (asked.any()) {
            ASSERT_EQ(one.body.size(), edit.size());
        } else {
            ASSERT_TRUE(edit.in_place().empty());
        }
        if (!first) {
            ASSERT_EQ(one.body, all.body);
            ASSERT_EQ(one.final, all.final);
            ASSERT_EQ(one.running, all.running);
        }
        all = one;
        first = false;
    });
    return all;
}

void expect(usage_inject mode, std::string_view body, std::string_view upstream, bool final, bool running)
{
    const outcome o = injected(body, mode);
    EXPECT_EQ(o.body, upstream);
    EXPECT_EQ(o.final, final) << body;
    EXPECT_EQ(o.running, running) << body;
}

void expect_final(std::string_view body, std::string_view upstream)
{
    expect(usage_inject::final, body, upstream, true, false);
}

void expect_both(std::string_view body, std::string_view upstream)
{
    expect(usage_inject::continuous, body, upstream, true, true);
}

void expect_nothing(std::string_view body)
{
    expect(usage_inject::final, body, body, false, false);
    expect(usage_inject::continuous, body, body, false, false);
}

std::string_view fault(std::string_view body, usage_inject mode = usage_inject::final)
{
    request_facts facts;
    facts.feed(body);
    EXPECT_EQ(facts.finish(), body_fault::none) << body;
    return usage_fault(facts, mode);
}

TEST(usage_inject, knows_its_paths)
{
    for (const char* path :
         {"/v1/chat/completions", "/v1/completions", "/completions", "/openai/v1/chat/completions",
          "/openai/deployments/gpt/chat/completions", "/v1/completions/", "/v1/chat/completions///",
          "/V1/Chat/COMPLETIONS", "/v1/chat/completions;x=1", "/v1/chat/completions;/;a;b/", "//completions",
          "/v1/chat/completions?x=1", "/v1/chat/completions?x/y", "/v1/chat/completions#/x", "/completions "})
        EXPECT_TRUE(call_of_path(path).takes_stream_options) << path;
    for (const char* path :
         {"/v1/messages", "/v1/responses", "/api/chat", "/api/generate", "/completion", "/generate",
          "/v1/chat/completions/batch", "/v1/chat_completions", "/v1/completions;/x", "/v1/x;/completion",
          "/", "", ";", "/;", "///", ";completions"})
        EXPECT_FALSE(call_of_path(path).takes_stream_options) << path;
}

TEST(usage_inject, adds_the_member)
{
    expect_final(R"({"stream":true})", R"({"stream":true,"stream_options":{"include_usage":true}})");
    expect_both(R"({"stream":true})",
                R"({"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}})");
    expect_final("\r\n {\"model\":\"m\",\"stream\":true,\"messages\":[{\"stream_options\":{}}]\n}\r\n",
                 "\r\n {\"model\":\"m\",\"stream\":true,\"messages\":[{\"stream_options\":{}}]\n"
                 ",\"stream_options\":{\"include_usage\":true}}");
    expect(usage_inject::off, R"({"stream":true})", R"({"stream":true})", false, false);
}

TEST(usage_inject, asks_only_of_what_surely_streams)
{
    for (const char* value : {"true", "1", "1.0", "1e0", "\"true\"", "\"TRUE\"", "\"1\"", "\"t\"", "\"Y\"",
                              "\"yes\"", "\"On\""}) {
        const std::string head = "{\"stream\":" + std::string(value);
        expect_final(head + "}", head + ",\"stream_options\":{\"include_usage\":true}}");
    }
    for (const char* value : {"false", "null", "0", "\"false\"", "\"NO\""}) {
        expect_nothing("{\"stream\":" + std::string(value) + "}");
        EXPECT_EQ(fault("{\"stream\":" + std::string(value) + ",\"stream_options\":1}"), "");
    }
    for (const char* value : {"2", "-1", "0.5", "\"yes \"", "\"sure\"", "\"\"", "{}", "[]", "NaN", "[true]",
                              "{\"stream\":true}"}) {
        expect_nothing("{\"stream\":" + std::string(value) + "}");
        EXPECT_EQ(fault("{\"stream\":" + std::string(value) + "}"), R"("stream" is neither true nor false)");
    }
    expect_nothing("{}");
    expect_nothing(R"({"x":{"stream":true}})");
    expect_nothing(R"({"stream_options":{"include_usage":false}})");
}

TEST(usage_inject, replaces_null)
{
    expect_final(R"({"stream_options":null,"stream":true})",
                 R"({                      "stream":true,"stream_options":{"include_usage":true}})");
    expect_final(R"({"stream":true,"stream_options":null})",
                 R"({"stream":true                      ,"stream_options":{"include_usage":true}})");
    expect_final("{\"a\":1 ,\n \"stream_options\" : null , \"stream\":true }",
                 "{\"a\":1                            , \"stream\":true "
                 ",\"stream_options\":{\"include_usage\":true}}");
    expect_final("{ \"stream_options\" :null \n\t, \"stream\":true}",
                 "{                            \"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    expect_both(R"({"stream":true,"stream_opt\u0069ons":null})",
                R"({"stream":true                           ,"stream_options":{"include_usage":true,)"
                R"("continuous_usage_stats":true}})");
}

// A body whose `stream_options` is this; what goes upstream in its place, or nothing where it stays.
void expect_merged(usage_inject mode, const std::string& options, const std::string& merged, bool final,
                   bool running)
{
    const std::string blank(17 + options.size(), ' ');
    for (const auto& [before, after] : {std::pair<std::string, std::string>{"{", ",\"stream\":true}"},
                                        {"{\"stream\":true,", "}"},
                                        {"{\"stream\":true,", ",\"model\":\"m\"}"},
                                        {"{ \"model\" : \"m\",", ",\"stream\":1,\"n\":[1]\n}\n"}}) {
        const std::string body = before + "\"stream_options\":" + options + after;
        if (merged.empty()) {
            expect(mode, body, body, false, false);
            continue;
        }
        std::string rest = before.substr(0, before.size() - 1) + " " + blank + after;
        if (before == "{")
            rest = "{" + blank + " " + after.substr(1);
        rest.resize(rest.rfind('}'));
        expect(mode, body, rest + ",\"stream_options\":" + merged + "}", final, running);
    }
}

TEST(usage_inject, merges_into_an_object)
{
    const auto final = [](const std::string& options, const std::string& merged) {
        expect_merged(usage_inject::final, options, merged, true, false);
    };
    final("{}", R"({"include_usage":true})");
    final("{ \n }", "{ \n \"include_usage\":true}");
    final(R"({"x":1})", R"({"x":1,"include_usage":true})");
    final(R"({"x":{"include_usage":true} , "y":"\"}{,\u00e9"})",
          R"({"x":{"include_usage":true} , "y":"\"}{,\u00e9","include_usage":true})");
    final(R"({"include_obfuscation":false})", R"({"include_obfuscation":false,"include_usage":true})");
    final(R"({"continuous_usage_stats":true})", R"({"continuous_usage_stats":true,"include_usage":true})");
    final(R"({"continuous_usage_stats":[]})", R"({"continuous_usage_stats":[],"include_usage":true})");
    for (const std::string value : {"false", "null", "0", "0.0", "\"false\"", "\"OFF\"", "\"0\""}) {
        final("{\"include_usage\":" + value + "}", R"({"include_usage":true})");
        final("{\"a\":1, \"include_usag\\u0065\" : " + value + " ,\"b\":2}",
              "{\"a\":1, \"include_usag\\u0065\" : true ,\"b\":2}");
    }
}

TEST(usage_inject, merges_continuous)
{
    const auto both = [](const std::string& options, const std::string& merged) {
        expect_merged(usage_inject::continuous, options, merged, true, true);
    };
    both("{}", R"({"include_usage":true,"continuous_usage_stats":true})");
    both(R"({"x":1})", R"({"x":1,"include_usage":true,"continuous_usage_stats":true})");
    both(R"({"include_usage":false})", R"({"include_usage":true,"continuous_usage_stats":true})");
    both(R"({"continuous_usage_stats":0})", R"({"continuous_usage_stats":true,"include_usage":true})");
    both(R"({"continuous_usage_stats":0,"include_usage":null})",
         R"({"continuous_usage_stats":true,"include_usage":true})");
    both(R"({"include_usage":"no", "continuous_usage_stats":"no" })",
         R"({"include_usage":true, "continuous_usage_stats":true })");
    // The client asked for one of the two.
    expect_merged(usage_inject::continuous, R"({"include_usage":true})",
                  R"({"include_usage":true,"continuous_usage_stats":true})", false, true);
    expect_merged(usage_inject::continuous, R"({"include_usage":"yes","continuous_usage_stats":false,"x":0})",
                  R"({"include_usage":"yes","continuous_usage_stats":true,"x":0})", false, true);
    expect_merged(usage_inject::continuous, R"({"continuous_usage_stats":1})",
                  R"({"continuous_usage_stats":1,"include_usage":true})", true, false);
}

TEST(usage_inject, leaves_what_the_client_asks_for)
{
    for (const std::string value : {"true", "1", "1.0", "\"true\"", "\"T\"", "\"on\""}) {
        expect_merged(usage_inject::final, "{\"include_usage\":" + value + "}", "", false, false);
        expect_nothing("{\"stream\":true,\"stream_options\":{\"include_usage\":" + value
                       + ",\"continuous_usage_stats\":" + value + "}}");
    }
    expect_merged(usage_inject::final, R"({"include_usage":true,"continuous_usage_stats":false})", "", false,
                  false);
}

TEST(usage_inject, strips_what_the_client_did_not_ask_for)
{
    const auto stripped = [](std::string_view body, usage_inject mode) {
        request_facts facts;
        facts.feed(body);
        EXPECT_EQ(facts.finish(), body_fault::none);
        body_edit edit(facts.root_end());
        return inject_usage(facts, mode, edit).to_strip;
    };
    const std::string_view bare = R"({"stream":true})";
    const std::string_view final = R"({"stream":true,"stream_options":{"include_usage":true}})";
    const std::string_view running = R"({"stream":true,"stream_options":{"continuous_usage_stats":true}})";
    EXPECT_EQ(stripped(bare, usage_inject::final), strip_what::all);
    EXPECT_EQ(stripped(bare, usage_inject::continuous), strip_what::all);
    EXPECT_EQ(stripped(final, usage_inject::final), strip_what::nothing);
    EXPECT_EQ(stripped(final, usage_inject::continuous), strip_what::running);
    EXPECT_EQ(stripped(running, usage_inject::final), strip_what::last);
    EXPECT_EQ(stripped(running, usage_inject::continuous), strip_what::last);
}

TEST(usage_inject, says_what_stands_in_the_way)
{
    const auto of = [](const std::string& options, usage_inject mode) {
        const std::string body = "{\"stream\":true,\"stream_options\":" + options + "}";
        const outcome o = injected(body, mode);
        const std::string_view said = fault(body, mode);
        EXPECT_TRUE(said.empty() || (o.body == body && !o.final && !o.running)) << body;
        EXPECT_EQ(fault(body, usage_inject::off), "");
        return said;
    };
    for (const usage_inject mode : {usage_inject::final, usage_inject::continuous}) {
        for (const std::string options :
             {"[]", "[{}]", "\"\"", "\"include_usage\"", "true", "false", "0", "1", "NaN"})
            EXPECT_EQ(of(options, mode), R"("stream_options" is not an object)") << options;
        for (const std::string value : {"2", "{}", "[true]", "\"maybe\""})
            EXPECT_EQ(of("{\"include_usage\":" + value + "}", mode),
                      R"("include_usage" is neither true nor false)")
                << value;
        for (const std::string options : {"null", "{}", R"({"include_usage":null})", R"({"x":2})"})
            EXPECT_EQ(of(options, mode), "") << options;
    }
    const std::string running = R"({"continuous_usage_stats":"maybe"})";
    EXPECT_EQ(of(running, usage_inject::final), "");
    EXPECT_EQ(of(running, usage_inject::continuous), R"("continuous_usage_stats" is neither true nor false)");
    EXPECT_EQ(fault(R"({"stream_options":[]})"), "") << "no stream";
}

TEST(usage_inject, keeps_an_object_of_any_size)
{
    for (const size_t size : {0u, 100u, 152u, 153u, 160u, 255u, 256u, 1000u, 5000u, 70'000u}) {
        const std::string x = "\"x\":\"" + std::string(size, 'x') + "\"";
        expect_merged(usage_inject::continuous, "{" + x + "}",
                      "{" + x + R"(,"include_usage":true,"continuous_usage_stats":true})", true, true);
        expect_merged(usage_inject::final, "{\"include_usage\":0," + x + ",\"y\":[]}",
                      "{\"include_usage\":true," + x + ",\"y\":[]}", true, false);
        expect_merged(usage_inject::continuous,
                      R"({"continuous_usage_stats":null,)" + x + R"(,"include_usage":false})",
                      R"({"continuous_usage_stats":true,)" + x + R"(,"include_usage":true})", true, true);
        expect_merged(usage_inject::final, "{\"include_usage\":true," + x + "}", "", false, false);
    }
    // Much white space between name and value.
    const std::string spaces(5000, ' ');
    expect_final("{\"stream\":true,\"stream_options\":" + spaces + "{" + spaces + "}" + spaces + "}",
                 "{\"stream\":true" + std::string(20, ' ') + spaces + spaces + spaces
                     + ",\"stream_options\":{" + spaces + "\"include_usage\":true}}");
}

TEST(usage_inject, refuses_what_stands_twice)
{
    for (
        const std::string_view body :
        {R"({"stream":true,"stream_options":{},"stream_options":{}})",
         R"({"stream":true,"stream_options":null,"stream_opt\u0069ons":null})",
         R"({"stream":true,"stream_options":{"include_usage":true,"include_usage":false}})",
         R"({"stream":true,"stream_options":{"include_usage":null,"\u0069nclude_usage":{}}})",
         R"({"stream":true,"stream_options":{"continuous_usage_stats":true,"continuous_usage_stats":true}})"})
        every_way(body, [&](const auto& pieces) {
            request_facts facts;
            for (const std::string_view piece : pieces)
                facts.feed(piece);
            ASSERT_EQ(facts.finish(), body_fault::duplicate_field) << body;
        });
}

TEST(usage_inject, finds_the_end_after_much_else)
{
    const std::string head = "  {\"stream_options\":{\"include_usage\":false},\"messages\":[\""
                             + repeated(100'000, "{\\\"}") + "\"],\"stream\":true";
    const outcome o = injected(head + " } \n\n", usage_inject::final);
    const std::string want =
        "  {" + std::string(41, ' ') + head.substr(44) + " ,\"stream_options\":{\"include_usage\":true}}";
    EXPECT_TRUE(o.body == want) << o.body.substr(0, 100) << "..." << o.body.substr(o.body.size() - 100);
}

} // namespace
