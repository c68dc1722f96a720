#include "core/request/request_facts.h"

#include "pieces.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace llm;

namespace {

request_facts read(const std::vector<std::string_view>& pieces)
{
    request_facts facts;
    for (const std::string_view piece : pieces)
        pieces.size() == 1 ? facts.feed_whole(piece) : facts.feed(piece);
    facts.finish();
    return facts;
}

template <typename Check>
void each_way(std::string_view body, Check&& check)
{
    every_way(body, [&](const auto& pieces) {
        const request_facts facts = read(pieces);
        ASSERT_EQ(facts.fault(), body_fault::none) << body.substr(0, 200);
        ASSERT_EQ(facts.bytes(), body.size());
        check(facts);
    });
}

void expect_fault(std::string_view body, body_fault fault)
{
    every_way(body,
              [&](const auto& pieces) { ASSERT_EQ(read(pieces).fault(), fault) << body.substr(0, 200); });
}

// "5", "none" or "unbounded".
std::string bound(std::string_view body)
{
    std::string all;
    each_way(body, [&](const request_facts& facts) {
        const request_bound b = facts.max_tokens();
        const std::string is = b.is == request_bound::state::absent  ? "none"
                               : b.is == request_bound::state::value ? std::to_string(b.value)
                                                                     : "unbounded";
        ASSERT_TRUE(all.empty() || all == is);
        all = is;
    });
    return all;
}

bool streams(const std::string& value)
{
    bool may = false;
    each_way("{\"stream\":" + value + "}", [&](const request_facts& facts) { may = facts.may_stream(); });
    return may;
}

TEST(request_facts, reads_a_chat_request)
{
    each_way(R"({"messages":[{"role":"user","content":"hi"}],"model":"org/qwen3","stream":true,"n":2,)"
             R"("stream_options":{"include_usage":true},"max_tokens":100})",
             [](const request_facts& facts) {
                 EXPECT_TRUE(facts.has_model());
                 EXPECT_EQ(facts.model(), "org/qwen3");
                 EXPECT_TRUE(facts.may_stream());
                 EXPECT_EQ(facts.choices(), 2u);
                 EXPECT_EQ(facts.prompts(), 1u);
                 EXPECT_EQ(facts.stream_options().is, stream_options_member::state::object);
                 EXPECT_EQ(facts.stream_options().include_usage, request_flag::yes);
                 EXPECT_EQ(facts.max_tokens().value, 100u);
             });
}

// A name that the path's API does not have bounds nothing: servers pass over it.
TEST(request_facts, says_where_the_model_is)
{
    const auto value = [](std::string_view body) {
        std::string first = "(none)";
        every_way(body, [&](const auto& pieces) {
            request_facts facts;
            for (const std::string_view piece : pieces)
                facts.feed(piece);
            EXPECT_EQ(facts.finish(), body_fault::none) << body;
            const byte_range at = facts.model_value();
            first = body.substr(at.begin, at.size());
            EXPECT_EQ(facts.empty(), body == "{ }");
        });
        return first;
    };
    EXPECT_EQ(value(R"({"model":"gpt-4o"})"), R"("gpt-4o")");
    EXPECT_EQ(value(R"( {"a":{"model":"no"}, "mo\u0064el" : "q\u0077en" , "b":1})"), R"("q\u0077en")");
    EXPECT_EQ(value(R"({"model":null})"), "null");
    EXPECT_EQ(value(R"({"a":1})"), "");
    EXPECT_EQ(value("{ }"), "");
    EXPECT_EQ(value("{\"model\":\"" + std::string(200, 'x') + "\"}"), '"' + std::string(200, 'x') + '"');
}

TEST(request_facts, bounds_by_the_names_of_the_api)
{
    constexpr std::string_view body =
        R"({"max_tokens":1,"max_completion_tokens":2,"max_output_tokens":3,"n_predict":4,"options":{"num_predict":5},)"
        R"("parameters":{"max_new_tokens":6},"sampling_params":{"max_new_tokens":7}})";
    const struct {
        const char* path;
        uint64_t bound;
    } cases[] = {
        {"/v1/chat/completions", 2},
        {"/openai/v1/chat/completions/", 2},
        {"/v1/completions", 1},
        {"/v1/Completions;x", 1},
        {"/v1/responses", 3},
        {"/v1/responses/compact", 3},
        {"/v1/messages", 1},
        {"/api/chat", 5},
        {"/api/generate", 5},
        {"/completion", 4},
        {"/infill", 4},
        {"/generate", 7},
        {"/generate_stream", 7},
        {"/", 7},
        {"/other", 7},
    };
    for (const auto& c : cases) {
        each_way(body, [&](const request_facts& facts) {
            const request_bound b = facts.max_tokens(call_of_path(c.path).bounds);
            EXPECT_EQ(b.is, request_bound::state::value) << c.path;
            EXPECT_EQ(b.value, c.bound) << c.path;
        });
        each_way(R"({"max_unknown_tokens":1})", [&](const request_facts& facts) {
            EXPECT_EQ(facts.max_tokens(call_of_path(c.path).bounds).is, request_bound::state::absent)
                << c.path;
        });
    }
    each_way(R"({"max_tokens":5,"max_completion_tokens":-1})", [](const request_facts& facts) {
        EXPECT_EQ(facts.max_tokens(call_of_path("/v1/chat/completions").bounds).is,
                  request_bound::state::unbounded);
        EXPECT_EQ(facts.max_tokens(call_of_path("/v1/completions").bounds).value, 5u);
    });
}

TEST(request_facts, has_defaults)
{
    each_way("{}", [](const request_facts& facts) {
        EXPECT_FALSE(facts.has_model());
        EXPECT_EQ(facts.model(), "");
        EXPECT_FALSE(facts.may_stream());
        EXPECT_EQ(facts.max_tokens().is, request_bound::state::absent);
        EXPECT_EQ(facts.choices(), 1u);
        EXPECT_EQ(facts.prompts(), 1u);
        EXPECT_EQ(facts.stream_options().is, stream_options_member::state::absent);
    });
    each_way(
        R"( {"model":null,"stream":null,"stream_options":null,"n":null,"max_tokens":null,"prompt":null} )",
        [](const request_facts& facts) {
            EXPECT_FALSE(facts.has_model());
            EXPECT_FALSE(facts.may_stream());
            EXPECT_EQ(facts.max_tokens().is, request_bound::state::absent);
            EXPECT_EQ(facts.choices(), 1u);
            EXPECT_EQ(facts.stream_options().is, stream_options_member::state::null);
        });
}

// The names, each with a comma behind it; "?" if they are not clear.
std::string more_models(std::string_view body)
{
    std::string all = "-";
    each_way(body, [&](const request_facts& facts) {
        std::string names(facts.more_models());
        std::replace(names.begin(), names.end(), '\0', ',');
        names = facts.unclear_models() ? "?" : names;
        ASSERT_TRUE(all == "-" || all == names) << body.substr(0, 200);
        all = names;
    });
    return all;
}

TEST(request_facts, reads_lists_of_models)
{
    EXPECT_EQ(more_models(R"({"model":"m"})"), "");
    EXPECT_EQ(more_models(R"({"model":"m","models":[]})"), "");
    EXPECT_EQ(more_models(R"({"models":null,"fallbacks":null})"), "");
    EXPECT_EQ(more_models(R"({"model":"m","models":["a","b/c"]})"), "a,b/c,");
    EXPECT_EQ(more_models(R"({"fallbacks":["a"],"model":"m","models":["","\u0062"]})"), "a,,b,");
    EXPECT_EQ(more_models(R"({"messages":[{"models":["x"]}],"metadata":{"fallbacks":["y"]}})"), "");
    for (const char* list : {"\"a\"", "{}", "1", "true", "[1]", "[\"a\",{\"model\":\"b\"}]", "[null]",
                             "[[\"a\"]]", "[\"a\\u0000b\"]"}) {
        EXPECT_EQ(more_models(std::string("{\"models\":") + list + "}"), "?") << list;
        EXPECT_EQ(more_models(std::string("{\"fallbacks\":") + list + "}"), "?") << list;
    }
    expect_fault(R"({"models":["a"],"models":["b"]})", body_fault::duplicate_field);
    EXPECT_EQ(more_models(R"({"inputs":"x","parameters":{"adapter_id":"a"}})"), "a,");
    EXPECT_EQ(more_models(R"({"text":"x","lora_path":"a"})"), "a,");
    EXPECT_EQ(more_models(R"({"text":"x","lora_path":5})"), "?");
    EXPECT_EQ(more_models(R"({"text":"x","lora_path":[5]})"), "?");
    EXPECT_EQ(more_models(R"({"instances":[],"parameters":{"lora_path":"a"}})"), "a,");
    EXPECT_EQ(more_models(R"({"instances":[],"parameters":{"lora_path":["a"]}})"), "?");
    EXPECT_EQ(more_models(R"({"model":"m","tools":[{"type":"a","model":"x"},{"model":null},{"model":"y"}]})"),
              "x,y,");
    EXPECT_EQ(more_models(R"({"tools":[{"model":{}}]})"), "?");
    EXPECT_EQ(more_models(R"({"tools":[{"function":{"model":"x","parameters":{"model":1}}}]})"), "");
    EXPECT_EQ(more_models(R"({"requests":[{"model":"a"},{"model":"b"},{"content":{"model":"c"}}]})"), "a,b,");
    EXPECT_EQ(more_models(R"({"generateContentRequest":{"model":"models/a"}})"), "models/a,");
    EXPECT_EQ(more_models(R"({"generate_content_request":{"model":"models/a"}})"), "models/a,");
    // Each name once.
    EXPECT_EQ(more_models(R"({"models":["ab","a","ab","a","b","ab"]})"), "ab,a,b,");
    EXPECT_EQ(
        more_models("{\"requests\":[" + repeated(200, R"({"model":"a-model-of-some-length"},)") + "{}]}"),
        "a-model-of-some-length,");
    EXPECT_EQ(more_models(R"({"text":"x","lora_path":["a","b"]})"), "a,b,");
    EXPECT_EQ(more_models(R"({"text":"x","lora_path":null})"), "");
    EXPECT_EQ(more_models(R"({"inputs":"x","parameters":{"adapter_id":null}})"), "");
    EXPECT_EQ(more_models(R"({"inputs":"x","parameters":{"adapter_id":["a"]}})"), "?");
    EXPECT_EQ(more_models(R"({"context_window_fallbacks":["a"],"content_policy_fallbacks":["b"]})"), "a,b,");
    EXPECT_EQ(more_models(R"({"context_window_fallbacks":[{"m":["a"]}]})"), "?");
    EXPECT_EQ(more_models(R"({"adapters":"a"})"), "a,");
    EXPECT_EQ(more_models(R"({"adapters":["a",{"name":"b","scale":1},{"id":"c"}]})"), "a,b,c,");
    for (const char* adapters : {"[{}]", "[{\"path\":\"x\"}]", "[{\"id\":0}]", "{\"a\":1}", "5", "[5]"}) {
        EXPECT_EQ(more_models(std::string(R"({"adapters":)") + adapters + "}"), "?") << adapters;
    }
    EXPECT_EQ(more_models(R"({"Adapters":["a"]})"), "?");
    EXPECT_EQ(more_models(R"({"adapters":null,"draft_model":null,"adapter_id":null,"agent_id":null})"), "");
    EXPECT_EQ(more_models(R"({"draft_model":"a","adapter_id":"b"})"), "a,b,");
    EXPECT_EQ(more_models(R"({"parameters":{"merged_adapters":{"ids":["a","b"],"weights":[1,2]}}})"), "a,b,");
    EXPECT_EQ(more_models(R"({"parameters":{"merged_adapters":{"ids":"a"}}})"), "?");
    EXPECT_EQ(more_models(R"({"agent_id":"a"})"), "?");
    EXPECT_EQ(more_models(R"({"lora":[{"id":0,"scale":1}]})"), "?");
    EXPECT_EQ(more_models(R"({"lora":null})"), "");
    expect_fault(R"({"parameters":{"adapter_id":"a","adapter_id":"b"}})", body_fault::duplicate_field);

    // Neither takes the other's room.
    const std::string model(256, 'm');
    const std::string name(request_facts::least_list - 1, 'n');
    for (const std::string& body : {"{\"model\":\"" + model + "\",\"models\":[\"" + name + "\"]}",
                                    "{\"models\":[\"" + name + "\"],\"model\":\"" + model + "\"}"}) {
        EXPECT_EQ(more_models(body), name + ",");
        each_way(body, [&](const request_facts& facts) { EXPECT_EQ(facts.model(), model); });
    }
    EXPECT_EQ(more_models("{\"models\":[\"" + name + "n\"],\"model\":\"m\"}"), "?");
    EXPECT_EQ(more_models("{\"models\":[\"" + name + "\",\"\"]}"), "?");
}

TEST(request_facts, reads_models_of_what_is_within)
{
    // OpenRouter's plugins and tools.
    EXPECT_EQ(
        more_models(R"({"plugins":[{"id":"fusion","model":"a","analysis_models":["b","c"]},{"id":"web"}]})"),
        "a,b,c,");
    EXPECT_EQ(more_models(R"({"tools":[{"type":"x:y","parameters":{"model":"a","analysis_models":["b"]}}]})"),
              "a,b,");
    EXPECT_EQ(more_models(
                  R"({"tools":[{"analysis_models":["a"]},{"model":["b"]},{"parameters":{"model":["c"]}}]})"),
              "a,b,c,");
    EXPECT_EQ(
        more_models(R"({"tools":[{"parameters":{"tools":[{"model":"a","parameters":{"model":"b"}}]}}]})"),
        "a,b,");
    EXPECT_EQ(more_models(R"({"plugins":null,"tools":[{"parameters":null},{"parameters":{"model":null}}]})"),
              "");
    for (const std::string_view member : {R"("model":5)", R"("model":[{}])", R"("analysis_models":1)",
                                          R"("analysis_models":[["a"]])", R"("analysis_models":[null])"}) {
        EXPECT_EQ(more_models("{\"plugins\":[{" + std::string(member) + "}]}"), "?") << member;
        EXPECT_EQ(more_models("{\"tools\":[{\"parameters\":{" + std::string(member) + "}}]}"), "?") << member;
    }
    EXPECT_EQ(more_models(R"({"plugins":[{"model":{}}]})"), "?");
    // A schema names none.
    EXPECT_EQ(more_models(R"({"tools":[{"type":"function","name":"f","parameters":{"type":"object",)"
                          R"("properties":{"model":{"type":"string"},"analysis_models":{"type":"array"}},)"
                          R"("required":["model"]}}]})"),
              "");
    EXPECT_EQ(more_models(R"({"tools":[{"parameters":{"model":{"type":"string"},"analysis_models":{}}}]})"),
              "");
    // LiteLLM's and Groq's have names as values.
    using ends = std::pair<std::string, std::string>;
    for (const auto& [begin, end] : {ends{R"({"context_window_fallback_dict":)", "}"},
                                     ends{R"({"compound_custom":{"tools":{},"models":)", "}}"}}) {
        EXPECT_EQ(more_models(begin + R"({"answering_model":"a","":"b"})" + end), "a,b,") << begin;
        EXPECT_EQ(more_models(begin + "null" + end), "") << begin;
        EXPECT_EQ(more_models(begin + "{}" + end), "") << begin;
        for (const char* other : {"\"a\"", "[\"a\"]", "1", R"({"a":["b"]})", R"({"a":1})", R"({"a":{}})"}) {
            EXPECT_EQ(more_models(begin + other + end), "?") << begin << other;
        }
    }
    EXPECT_EQ(
        more_models(R"({"metadata":{"plugins":[{"model":"a"}],"compound_custom":{"models":{"x":"b"}}}})"),
        "");
    // TensorRT-LLM's go by number and path.
    EXPECT_EQ(more_models(R"({"lora_request":{"lora_name":"a","lora_int_id":0,"lora_path":"b"}})"), "?");
    EXPECT_EQ(more_models(R"({"lora_request":{"lora_name":"a"}})"), "?");
    EXPECT_EQ(more_models(R"({"lora_request":null})"), "");
}

// As on some paths.
TEST(request_facts, reads_other_members_that_name_models)
{
    const auto names = [](std::string_view path, std::string_view body) {
        request_facts facts;
        facts.look_for_models_in(call_of_path(path).names_models);
        for (const char c : body) {
            facts.feed({&c, 1});
        }
        EXPECT_EQ(facts.finish(), body_fault::none) << body;
        std::string all(facts.more_models());
        std::replace(all.begin(), all.end(), '\0', ',');
        return facts.unclear_models() ? "?" : all;
    };
    EXPECT_EQ(names("/api/create", R"({"model":"m","from":"a","name":"b","source":"c"})"), "a,b,");
    EXPECT_EQ(names("/api/create", R"({"model":"m","name":"","from":null,"files":null})"), "");
    EXPECT_EQ(names("/x/api/copy", R"({"source":"a","destination":"b","from":"c"})"), "a,b,");
    EXPECT_EQ(names("/api/copy", R"({"source":"a","source":"b"})"), "a,b,");
    EXPECT_EQ(names("/api/copy", R"({"Source":"a"})"), "?");
    for (const std::string_view path : {"/api/delete", "/api/pull", "/api/push", "/api/show"}) {
        EXPECT_EQ(names(path, R"({"name":"a","from":"b"})"), "a,") << path;
    }
    for (const std::string_view member :
         {"\"files\":{\"a\":\"sha256:1\"}", "\"modelfile\":\"FROM a\"", "\"path\":\"x\"", "\"from\":[]",
          "\"FROM\":\"a\"", "\"Files\":{}"}) {
        const std::string body = "{\"model\":\"m\"," + std::string(member) + "}";
        EXPECT_EQ(names("/api/create", body), "?") << body;
        EXPECT_EQ(names("/api/chat", body), "") << body;
        EXPECT_EQ(names("/v1/chat/completions", body), "") << body;
    }
    EXPECT_EQ(names("/api/create", R"({"model":"m","adapters":{}})"), "?");
    EXPECT_EQ(names("/api/create", R"({"model":"m","adapters":["a"]})"), "?");
    EXPECT_EQ(names("/v1/load_lora_adapter", R"({"lora_name":"a","lora_path":"b"})"), "a,b,");
    EXPECT_EQ(names("/unload_lora_adapter", R"({"lora_name":"a"})"), "a,");
    EXPECT_EQ(names("/v1/unload_lora_adapter", R"({"lora_name":"a","lora_int_id":3})"), "?");
    EXPECT_EQ(names("/v1/vector_stores", R"({"name":"a","source":"b"})"), "");
    const std::string longest(request_facts::least_list + 100, 'x');
    EXPECT_EQ(names("/api/copy", "{\"source\":\"" + longest + "\"}"), "?");
}

// Test 38 of the wire formats, without the image here.
TEST(request_facts, is_not_taken_in_by_decoys)
{
    constexpr std::string_view body =
        R"({"messages":[{"role":"user","content":"{\"model\":\"evil\",\"stream\":true}"}],"tools":[{"function":)"
        R"({"parameters":{"properties":{"model":{},"stream":{}}}}}],"metadata":{"model":"evil2"},)"
        R"("\u006dodel":"good","stream":"true"})";
    each_way(body, [](const request_facts& facts) {
        EXPECT_EQ(facts.model(), "good");
        EXPECT_TRUE(facts.may_stream());
    });
}

TEST(request_facts, finds_the_model_after_20_megabytes)
{
    const std::string body = R"({"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,)"
                             + repeated(20u << 17, "aGVsbG8/") + R"("}}]}],"model":"good"})";
    request_facts facts;
    for (size_t at = 0; at < body.size(); at += 16384)
        EXPECT_TRUE(facts.feed(std::string_view(body).substr(at, 16384)));
    EXPECT_EQ(facts.finish(), body_fault::none);
    EXPECT_EQ(facts.model(), "good");
}

// Tests 39 a to d.
TEST(request_facts, refuses_what_servers_may_read_differently)
{
    expect_fault(R"({"model":"a","x":1,"model":"b"})", body_fault::duplicate_field);
    expect_fault(R"({"model":"a","mod\u0065l":"a"})", body_fault::duplicate_field);
    expect_fault(R"({"model":null,"model":"b"})", body_fault::duplicate_field);
    expect_fault(R"({"max_tokens":1,"max_tokens":{}})", body_fault::duplicate_field);
    expect_fault(R"({"stream_options":{},"stream_options":{}})", body_fault::duplicate_field);
    expect_fault(R"({"options":{"num_predict":1,"num_predict":2}})", body_fault::duplicate_field);
    expect_fault(std::string_view("{\0\"\0m\0\"\0:\0\"\0a\0\"\0}\0", 18), body_fault::syntax);
    expect_fault(std::string_view("\0{\0\"\0m\0\"\0:\0001\0}", 14), body_fault::not_an_object);
    expect_fault("\xff\xfe{", body_fault::not_an_object);
    expect_fault("\xef\xbb\xbf{\"model\":\"a\"}", body_fault::not_an_object);
    expect_fault(R"({"Model":"b","model":"a"})", body_fault::ambiguous_name);
    expect_fault(R"({"model":"a","MODE\u004c":"b"})", body_fault::ambiguous_name);
    expect_fault(R"({"Model":"b"})", body_fault::ambiguous_name);
    expect_fault(R"({"Stream":true})", body_fault::ambiguous_name);
    expect_fault(R"({"stream":true,"STREAM\u005fOPTIONS":{}})", body_fault::ambiguous_name);
    expect_fault(R"({"stream_options":{"include_usage":true,"Include_usage":false}})",
                 body_fault::ambiguous_name);
    expect_fault(R"({"stream_options":{"CONTINUOUS_USAGE_STATS":true}})", body_fault::ambiguous_name);
    each_way(R"({"model":"a","models":"b","x":{"Model":"c","model":"d","model":"e"}})",
             [](const request_facts& facts) { EXPECT_EQ(facts.model(), "a"); });
}

TEST(request_facts, refuses_what_is_not_json)
{
    expect_fault("", body_fault::not_an_object);
    expect_fault(" \r\n\t", body_fault::not_an_object);
    expect_fault("[]", body_fault::not_an_object);
    expect_fault("--x\r\nContent-Disposition: form-data", body_fault::not_an_object);
    expect_fault("{", body_fault::syntax);
    expect_fault("{\"model\":\"a\"", body_fault::syntax);
    expect_fault("{\"model\":\"a\"}x", body_fault::syntax);
    expect_fault("{\"model\":\"a\"} {}", body_fault::syntax);
    expect_fault(std::string_view("{\"model\":\"a\"}\0", 14), body_fault::syntax);
    expect_fault("{\"model\":\"a\n\"}", body_fault::syntax);
    expect_fault("{\"messages\":[\"a\tb\"]}", body_fault::syntax);
    expect_fault(std::string_view("{\"x\":[\0]}", 9), body_fault::syntax);
    expect_fault("{\"x\":" + repeated(600, "["), body_fault::too_deep);
    expect_fault("{'model':'a'}", body_fault::syntax);
    each_way("{\"x\":[NaN,-Infinity],\"y\":Infinity,\"temperature\":1E400}\r\n", [](const request_facts&) {});
}

// A parser that is lenient there might find another model.
TEST(request_facts, refuses_what_is_not_json_at_any_depth)
{
    expect_fault(R"({"model":"m","a":[1/*"*/],"model":"forbidden","b":[1/*"*/]})", body_fault::syntax);
    expect_fault(R"({"model":"m","a":{"b":[{'c':1}]}})", body_fault::syntax);
    expect_fault(R"({"messages":[{"content":[1,]}]})", body_fault::syntax);
    expect_fault(R"({"tools":[{"a":01}]})", body_fault::syntax);
    expect_fault(R"({"tools":[{"a" "b"}]})", body_fault::syntax);
    expect_fault(R"({"options":{"x":[True]}})", body_fault::syntax);
    each_way(R"({"a":[{"b":[-1,2.5e3,"\ud800",NaN,{"model":"x","model":"y"}]}]})",
             [](const request_facts&) {});
}

TEST(request_facts, refuses_what_is_not_utf8)
{
    each_way("{\"m\xc3\xa4\":\"\xe4\xbd\xa0\xf0\x9f\x98\x80\",\"x\":[\"\xc3\xa9\"]}",
             [](const request_facts&) {});
    for (const std::string bad :
         {"caf\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xf0\x9f\x98"})
        for (const size_t shift : {0, 10, 60, 100}) {
            const std::string gap(shift, 'x');
            expect_fault("{\"messages\":[{\"content\":\"" + gap + bad + "\"}]}", body_fault::not_utf8);
            expect_fault("{\"model\":\"" + gap + bad + gap + "\"}", body_fault::not_utf8);
            expect_fault("{\"" + bad + gap + "\":1}", body_fault::not_utf8);
        }
    // The first mistake is told.
    expect_fault("{\"model\":5,\"x\":\"\xff\"}", body_fault::bad_model);
    expect_fault("{\"x\":\"\xff\",\"model\":5}", body_fault::not_utf8);
    expect_fault("{\"x\":[1,],\"y\":\"\xff\"}", body_fault::syntax);
    expect_fault("{\"x\":\"\xff\",\"y\":[1,]}", body_fault::not_utf8);
    expect_fault("{\"x\":\"\xc3", body_fault::syntax);
}

TEST(request_facts, refuses_names_that_a_parser_may_take_for_one_that_decides)
{
    for (const char* name : {"model\\u0000", "model\\u0000x", "MODEL\\u0000", "mod\\u0065l\\u0000",
                             "model\\ud800", "\\udc00model", "stream\\u0000", "max_tokens\\u0000",
                             "\u017ftream", "\\u017fTREAM", "stream_option\u017f", "prompt\\u0000"}) {
        expect_fault("{\"" + std::string(name) + "\":\"a\"}", body_fault::ambiguous_name);
        expect_fault("{\"model\":null,\"" + std::string(name) + "\":null}", body_fault::ambiguous_name);
    }
    expect_fault(R"({"stream_options":{"include_usage\u0000":false}})", body_fault::ambiguous_name);
    each_way(
        R"({"model":"a","\u0000model":1,"mo\u0000del":2,"modelx\u0000":3,"metadata":{"model\u0000":"b"}})",
        [](const request_facts& facts) { EXPECT_EQ(facts.model(), "a"); });
}

TEST(request_facts, bounds_the_model)
{
    const std::string longest(request_facts::max_model, 'm');
    each_way("{\"model\":\"" + longest + "\"}",
             [&](const request_facts& facts) { EXPECT_EQ(facts.model(), longest); });
    expect_fault("{\"model\":\"" + longest + "m\"}", body_fault::bad_model);
    each_way(R"({"model":""})", [](const request_facts& facts) { EXPECT_TRUE(facts.has_model()); });
    each_way(R"({"model":"\u4f60\/\ud83d\ude00"})",
             [](const request_facts& facts) { EXPECT_EQ(facts.model(), "你/😀"); });
    for (const std::string value : {"1", "true", "false", "[]", "{}", "[\"a\"]"})
        expect_fault("{\"model\":" + value + "}", body_fault::bad_model);
}

TEST(request_facts, takes_lenient_forms_of_stream)
{
    for (const char* value : {"true",  "\"true\"",     "\"TRUE\"", "1",  "1.0", "\"yes\"",   "\"on\"",
                              "\"t\"", "\"y\"",        "\"1\"",    "2",  "-1",  "0.5",       "1e-9",
                              "\"\"",  "\"whatever\"", "{}",       "[]", "NaN", "\"falsey\""})
        EXPECT_TRUE(streams(value)) << value;
    for (const char* value : {"false", "null", "0", "0.0", "-0", "0e5", "\"false\"", "\"False\"", "\"off\"",
                              "\"OFF\"", "\"no\"", "\"n\"", "\"f\"", "\"0\"", "\"\\u0066alse\""})
        EXPECT_FALSE(streams(value)) << value;
}

TEST(request_facts, takes_lenient_forms_of_bounds)
{
    const auto max_tokens = [](const std::string& value) { return bound("{\"max_tokens\":" + value + "}"); };
    for (const char* value : {"5", "\"5\"", "\" 5 \"", "5.0", "\"5.0\"", "0.5e1", "\"+5\"", "\"\\u0035\""})
        EXPECT_EQ(max_tokens(value), "5") << value;
    EXPECT_EQ(max_tokens("1e2"), "100");
    EXPECT_EQ(max_tokens("true"), "1");
    EXPECT_EQ(max_tokens("false"), "0");
    EXPECT_EQ(max_tokens("0"), "0");
    EXPECT_EQ(max_tokens("null"), "none");
    for (const char* value :
         {"-1", "5.5", "\"x\"", "\"\"", "\"1_0\"", "{}", "[5]", "NaN", "Infinity", "\"5 5\""})
        EXPECT_EQ(max_tokens(value), "unbounded") << value;
    EXPECT_EQ(max_tokens(std::string(100, '9')), "unbounded");
    EXPECT_EQ(max_tokens("1e400"), std::to_string(uint64_t{1} << 40));
}

TEST(request_facts, knows_all_names_of_bounds)
{
    for (const char* name : {"max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict"})
        EXPECT_EQ(bound("{\"" + std::string(name) + "\":9}"), "9") << name;
    EXPECT_EQ(bound(R"({"options":{"seed":1,"num_predict":9}})"), "9");
    EXPECT_EQ(bound(R"({"parameters":{"max_new_tokens":9}})"), "9");
    EXPECT_EQ(bound(R"({"sampling_params":{"max_new_tokens":9}})"), "9");
    EXPECT_EQ(bound(R"({"x":{"max_tokens":9},"num_predict":9,"options":[{"num_predict":9}]})"), "none");
    EXPECT_EQ(bound(R"({"max_tokens":5,"max_completion_tokens":7,"options":{"num_predict":6}})"), "7");
    EXPECT_EQ(bound(R"({"options":{"num_predict":-1},"max_tokens":5})"), "unbounded");
    EXPECT_EQ(bound(R"({"max_tokens":5,"max_completion_tokens":null})"), "5");
}

TEST(request_facts, counts_choices)
{
    const auto choices = [](std::string_view body) {
        uint32_t n = 0;
        each_way(body, [&](const request_facts& facts) { n = facts.choices(); });
        return n;
    };
    EXPECT_EQ(choices(R"({"n":3})"), 3u);
    EXPECT_EQ(choices(R"({"n":"3","best_of":5})"), 5u);
    EXPECT_EQ(choices(R"({"n":3,"best_of":2})"), 3u);
    EXPECT_EQ(choices(R"({"n":0})"), 1u);
    EXPECT_EQ(choices(R"({"n_cmpl":4})"), 4u);
    EXPECT_EQ(choices(R"({"parameters":{"best_of":4}})"), 4u);
    EXPECT_EQ(choices(R"({"sampling_params":{"n":4}})"), 4u);
    EXPECT_EQ(choices(R"({"n":"x"})"), request_facts::unclear_choices);
    EXPECT_EQ(choices(R"({"n":1e30})"), UINT32_MAX);
}

TEST(request_facts, counts_prompts)
{
    const auto prompts = [](std::string_view body) {
        uint32_t n = 0;
        each_way(body, [&](const request_facts& facts) { n = facts.prompts(); });
        return n;
    };
    EXPECT_EQ(prompts(R"({"prompt":"a"})"), 1u);
    EXPECT_EQ(prompts(R"({"prompt":[1,2,3]})"), 1u);
    EXPECT_EQ(prompts(R"({"prompt":["a","b"]})"), 2u);
    EXPECT_EQ(prompts(R"({"prompt":[[1,2],[3],[4]]})"), 3u);
    EXPECT_EQ(prompts(R"({"prompt":[]})"), 1u);
    EXPECT_EQ(prompts(R"({"text":["a","b"],"stream":true})"), 2u);
    EXPECT_EQ(prompts(R"({"text":"a"})"), 1u);
    EXPECT_EQ(prompts(R"({"text":{"format":["a","b"]}})"), 1u);
    EXPECT_EQ(prompts(R"({"input_ids":[[1,2],[3]]})"), 2u);
    EXPECT_EQ(prompts(R"({"input_ids":[1,2]})"), 1u);
    EXPECT_EQ(prompts(R"({"input":["a","b"]})"), 1u);
    EXPECT_EQ(prompts("{\"prompt\":[" + repeated(4999, "\"a\",") + "\"b\"]}"), 5000u);
}

TEST(request_facts, says_when_the_rest_need_not_be_fed)
{
    request_facts facts;
    EXPECT_TRUE(facts.feed("  "));
    EXPECT_TRUE(facts.feed("{\"model\":"));
    EXPECT_FALSE(facts.feed("5,"));
    EXPECT_FALSE(facts.feed("\"x\":1}"));
    EXPECT_EQ(facts.bytes(), 19u);
    EXPECT_EQ(facts.finish(), body_fault::bad_model);
}

} // namespace
