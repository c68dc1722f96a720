#include "core/request/policy_edit.h"

#include "core/request/request_facts.h"
#include "core/request/usage_inject.h"
#include "keys/request_rules.h"

#include "body_edits.h"
#include "pieces.h"
#include "policy_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

using namespace llm;

namespace {

using action = policy_action;

// A body that is read in pieces of `step` bytes.
struct kept_body {
    std::string_view text;
    size_t step;

    static std::string_view read(void* owner, const byte_range& range)
    {
        const auto& self = *static_cast<kept_body*>(owner);
        return self.text.substr(range.begin, std::min<size_t>(range.size(), self.step));
    }
    body_bytes bytes() { return {read, this}; }
};

struct made {
    policy_fault fault = policy_fault::none;
    std::string faulty;
    bool changed = false;
    std::string body;
};

made edited_by(const request_policy& policy, const api_call& call, std::string_view body,
               usage_inject mode = usage_inject::off, size_t step = SIZE_MAX)
{
    request_facts facts;
    std::vector<body_member> room(body_members::usual);
    facts.keep_members(room);
    facts.feed(body);
    EXPECT_EQ(facts.finish(), body_fault::none) << body;
    EXPECT_TRUE(facts.members().all_kept());
    kept_body kept{body, step};
    policy_edit edit(policy, call, facts.members().kept(), facts.root_end(), kept.bytes());
    made m;
    m.fault = edit.plan();
    m.faulty = edit.faulty();
    m.body = body;
    if (m.fault != policy_fault::none)
        return m;
    const stream_options_member& options = facts.stream_options();
    options_fate fate = options_fate::stay;
    if (options.is != stream_options_member::state::absent && edit.any())
        fate = edit.drops(options.value_begin) ? options_fate::drop : options_fate::go;
    const bool asks = usage_to_inject(facts, mode, fate).any();
    body_edit to(facts.root_end());
    EXPECT_TRUE(edit.write(to, fate == options_fate::go && asks ? options.value_begin : 0)) << body;
    inject_usage(facts, mode, to, fate);
    m.changed = edit.any();
    m.body = edited(body, to);
    if (!edit.any() && !asks) {
        EXPECT_EQ(m.body, std::string(body).substr(0, facts.root_end() + 1));
    }
    return m;
}

class rule_list {
public:
    rule_list(std::initializer_list<policy_rule> rules)
    {
        for (const uint8_t list : {0, 1}) {
            request_rules checked;
            for (const policy_rule& rule : rules)
                if (rule.list == list) {
                    EXPECT_EQ(checked.add(rule.action, rule.field, rule.value, rule.list), "") << rule.field;
                }
            text += checked.text();
        }
        EXPECT_TRUE(policy.add(text));
        EXPECT_TRUE(policy.finish());
    }
    std::string text;
    request_policy policy;
};

void expect(const rule_list& rules, std::string_view path, std::string_view body, std::string_view upstream)
{
    for (const size_t step : {SIZE_MAX, size_t{1}, size_t{7}}) {
        const made m = edited_by(rules.policy, call_of_path(path), body, usage_inject::off, step);
        EXPECT_EQ(m.fault, policy_fault::none) << body << ' ' << m.faulty;
        EXPECT_EQ(m.body, upstream) << body;
    }
}

void expect_fault(const rule_list& rules, std::string_view path, std::string_view body, policy_fault fault,
                  std::string_view field)
{
    const made m = edited_by(rules.policy, call_of_path(path), body);
    EXPECT_EQ(m.fault, fault) << body;
    EXPECT_EQ(m.faulty, field) << body;
}

std::string spaces(size_t n)
{
    return std::string(n, ' ');
}

constexpr std::string_view chat = "/v1/chat/completions";

TEST(policy_edit, allow)
{
    const rule_list r{{action::allow, 0, "messages", ""}, {action::allow, 0, "temperature", ""}};
    expect(r, chat, R"({"model":"m","x":1,"messages":[],"y":{"a":2},"stream":false,"z":3})",
           R"({"model":"m")" + spaces(6) + R"(,"messages":[])" + spaces(12) + R"(,"stream":false      })");
    expect(r, chat, R"({"x":1,"y":2,"model":"m"})", R"({            "model":"m"})");
    expect(r, chat, R"({"x":1 , "y":2})", '{' + spaces(13) + '}');
    expect(r, chat, R"({"Temperature":1,"temper\u0061ture":2,"temperature\u0000":3,"temperature\ud800":4})",
           '{' + spaces(16) + R"("temper\u0061ture":2)" + spaces(44) + '}');
    expect(r, chat, "{}", "{}");
}

TEST(policy_edit, allow_by_all_lists)
{
    const rule_list r{{action::allow, 0, "a", ""}, {action::allow, 0, "b", ""}, {action::allow, 1, "b", ""}};
    expect(r, chat, R"({"a":1,"b":2,"c":3})", R"({      "b":2      })");
}

TEST(policy_edit, drop)
{
    const rule_list r{
        {action::drop, 0, "a", ""}, {action::drop, 0, "o.p.q", ""}, {action::drop, 0, "stream_options", ""}};
    expect(r, chat, R"({"a":1,"b":2,"a":3})", R"({      "b":2      })");
    expect(r, chat, R"({"o":{"p":{"q":[1,{"q":1}],"r":2},"q":1}})",
           R"({"o":{"p":{                "r":2},"q":1}})");
    expect(r, chat, R"({"o":{"p":{"r":2, "q":1}}})", R"({"o":{"p":{"r":2       }}})");
    expect(r, chat, R"({"o":5,"stream_options":{"x":1}})", R"({"o":5                         })");
    expect_fault(r, chat, R"({"A":1})", policy_fault::ambiguous_name, "a");
    expect_fault(r, chat, R"({"a\u0000b":1})", policy_fault::ambiguous_name, "a");
    expect_fault(r, chat, R"({"\ud800a":1})", policy_fault::ambiguous_name, "a");
    expect_fault(r, chat, R"({"o":{"p":{"Q":1}}})", policy_fault::ambiguous_name, "o.p.q");
    expect_fault(r, chat, R"({"o":{"p":1,"p":2}})", policy_fault::duplicate_field, "o.p");
}

TEST(policy_edit, cap)
{
    const rule_list r{{action::cap, 0, "temperature", "1"}, {action::cap, 0, "o.n", "10"}};
    for (const char* same : {"1", "1.0", "0", "-5", "10e-1", "0.99999", "null", "-Infinity", "1e-400"}) {
        const std::string body = std::string(R"({"temperature":)") + same + "}";
        expect(r, chat, body, body);
    }
    expect(r, chat, R"({"temperature":1.5,"x":1})", R"({"temperature":1  ,"x":1})");
    expect(r, chat, R"({"temperature":2})", R"({"temperature":1})");
    expect(r, chat, R"({"temperature":Infinity})", R"({"temperature":1       })");
    expect(r, chat, R"({"temperature":1.0000000000000000001})", R"({"temperature":1                    })");
    expect(r, chat, R"({"t\u0065mperature":2})", R"({"t\u0065mperature":1})");
    expect(r, chat, R"({"o":{"n":11 , "m":1}})", R"({"o":{"n":10 , "m":1}})");
    for (const char* wrong : {"\"1\"", "true", "[1]", "{}", "NaN", "false"})
        expect_fault(r, chat, std::string(R"({"temperature":)") + wrong + "}", policy_fault::not_a_number,
                     "temperature");
    expect_fault(r, chat, R"({"o":{"n":"x"}})", policy_fault::not_a_number, "o.n");
    expect_fault(r, chat, R"({"o":"x"})", policy_fault::not_an_object, "o");
    expect_fault(r, chat, R"({"o":[{"n":11}]})", policy_fault::not_an_object, "o");
    expect_fault(r, chat, R"({"temperature":0,"temperature":9})", policy_fault::duplicate_field,
                 "temperature");
    expect_fault(r, chat, R"({"temperature":null,"temperature":9})", policy_fault::duplicate_field,
                 "temperature");
    expect_fault(r, chat, R"({"Temperature":0})", policy_fault::ambiguous_name, "temperature");
    expect_fault(r, chat, R"({"temperature\u0000x":0})", policy_fault::ambiguous_name, "temperature");
    expect(r, chat, R"({"temperature2":9,"":9,"emperature":9,"temperatur\u00e9":9})",
           R"({"temperature2":9,"":9,"emperature":9,"temperatur\u00e9":9})");
}

TEST(policy_edit, long_s_and_kelvin_sign_are_another_case)
{
    const rule_list r{{action::cap, 0, "top_k", "5"}, {action::drop, 0, "seed", ""}};
    expect_fault(r, chat, "{\"top_\u212a\":9}", policy_fault::ambiguous_name, "top_k");
    expect_fault(r, chat, R"({"\u017feed":9})", policy_fault::ambiguous_name, "seed");
}

TEST(policy_edit, cap_max_tokens_means_each_apis_name)
{
    const rule_list r{{action::cap, 0, "max_tokens", "100"}};
    expect(r, chat, R"({"model":"m"})", R"({"model":"m","max_tokens":100})");
    expect(r, chat, R"({})", R"({"max_tokens":100})");
    expect(r, chat, R"({"max_tokens":null})", R"({"max_tokens":100 })");
    expect(r, chat, R"({"max_tokens":50})", R"({"max_tokens":50})");
    expect(r, chat, R"({"max_tokens":5000})", R"({"max_tokens":100 })");
    expect(r, chat, R"({"max_tokens":-1,"x":[]})", '{' + spaces(16) + R"("x":[],"max_tokens":100})");
    expect(r, chat, R"({"max_tokens":0})", '{' + spaces(14) + R"("max_tokens":100})");
    expect(r, chat, R"({"max_completion_tokens":101})", R"({"max_completion_tokens":100})");
    // llama.cpp goes by it in chats too.
    expect(r, chat, R"({"max_tokens":5,"n_predict":500})", R"({"max_tokens":5,"n_predict":100})");
    expect(r, "/v1/completions", R"({"max_completion_tokens":5})",
           R"({"max_completion_tokens":5,"max_tokens":100})");
    expect(r, "/v1/responses", R"({"max_output_tokens":5e3})", R"({"max_output_tokens":100})");
    expect(r, "/v1/responses", R"({"a":1})", R"({"a":1,"max_output_tokens":100})");
    expect(r, "/v1/messages", R"({"max_tokens":4096})", R"({"max_tokens":100 })");
    expect(r, "/v1/messages/count_tokens", R"({"a":1})", R"({"a":1})");
    expect(r, "/api/chat", R"({"options":{"num_predict":4096}})", R"({"options":{"num_predict":100 }})");
    expect(r, "/api/chat", R"({"options":{"seed":1},"a":1})",
           R"({                     "a":1,"options":{"seed":1,"num_predict":100}})");
    expect(r, "/api/generate", R"({"a":1,"options":null})",
           R"({"a":1               ,"options":{"num_predict":100}})");
    expect(r, "/api/generate", R"({"a":1,"options":{}})",
           R"({"a":1             ,"options":{"num_predict":100}})");
    expect(r, "/api/generate", R"({"a":1})", R"({"a":1,"options":{"num_predict":100}})");
    // Some servers cut the fraction off, and take 0 for no bound.
    expect(r, "/api/chat", R"({"options":{"num_predict":0.5}})", R"({"options":{"num_predict":100}})");
    expect(r, chat, R"({"max_tokens":1e-9})", R"({"max_tokens":100 })");
    expect(r, "/api/embed", R"({"a":1})", R"({"a":1})");
    expect(r, "/completion", R"({"a":1})", R"({"a":1,"n_predict":100})");
    expect(r, "/generate", R"({"a":1})",
           R"({"a":1,"parameters":{"max_new_tokens":100},"sampling_params":{"max_new_tokens":100}})");
    expect(r, "/v1beta/models/g:generateContent", R"({"a":1})",
           R"({"a":1,"generationConfig":{"maxOutputTokens":100}})");
    expect(r, "/v1beta/models/g:generateContent", R"({"generation_config":{"max_output_tokens":101}})",
           R"({"generation_config":{"max_output_tokens":100}})");
    expect(r, "/v1beta/models/g:streamGenerateContent", R"({"generation_config":{}})",
           R"({                      )"
           R"("generation_config":{"maxOutputTokens":100}})");
    expect(r, "/v1beta/models/g:embedContent", R"({"a":1})", R"({"a":1})");
    expect(r, "/v1/embeddings", R"({"a":1})", R"({"a":1})");
    expect(r, chat, R"({"options":[],"parameters":"x","max_tokens":1})",
           R"({"options":[],"parameters":"x","max_tokens":1})");
    expect_fault(r, "/api/chat", R"({"options":[]})", policy_fault::not_an_object, "options");
    expect_fault(r, chat, R"({"max_tokens":"50"})", policy_fault::not_a_number, "max_tokens");
    expect_fault(r, chat, R"({"Max_Tokens":50})", policy_fault::ambiguous_name, "max_tokens");
    expect_fault(r, "/api/chat", R"({"options":{"NUM_PREDICT":50}})", policy_fault::ambiguous_name,
                 "options.num_predict");
    expect_fault(r, "/v1beta/models/g:generateContent", R"({"generationConfig":{},"generation_config":{}})",
                 policy_fault::duplicate_field, "generationConfig");
}

TEST(policy_edit, a_default_bound_is_one_that_the_api_has)
{
    const rule_list r{{action::set_default, 0, "max_completion_tokens", "50"}};
    const rule_list capped{{action::set_default, 0, "max_completion_tokens", "50"},
                           {action::cap, 0, "max_tokens", "100"}};
    expect(r, chat, R"({"a":1})", R"({"a":1,"max_completion_tokens":50})");
    expect(capped, chat, R"({"a":1})", R"({"a":1,"max_completion_tokens":50})");
    // Servers refuse two bounds, and fields that they do not know.
    expect(r, chat, R"({"max_tokens":500})", R"({"max_tokens":500})");
    expect(capped, chat, R"({"max_tokens":500})", R"({"max_tokens":100})");
    expect(r, chat, R"({"max_completion_tokens":null,"max_tokens":5})",
           R"({"max_completion_tokens":null,"max_tokens":5})");
    expect(r, chat, R"({"max_completion_tokens":null,"max_tokens":null})",
           R"({"max_completion_tokens":50  ,"max_tokens":null})");
    for (const std::string_view path : {"/v1/embeddings", "/v1/messages", "/v1/completions", "/v1/responses"})
        expect(r, path, R"({"a":1})", R"({"a":1})");
    expect(capped, "/v1/responses", R"({"a":1})", R"({"a":1,"max_output_tokens":100})");
    expect(capped, "/v1/embeddings", R"({"a":1})", R"({"a":1})");
    expect({{action::set_default, 0, "options.num_predict", "5"}}, chat, R"({"options":[]})",
           R"({"options":[]})");
    expect({{action::set_default, 0, "options.num_predict", "5"}}, "/api/chat", R"({"a":1})",
           R"({"a":1,"options":{"num_predict":5}})");
    // A rule gives one already.
    expect({{action::set_default, 0, "max_completion_tokens", "50"}, {action::set, 0, "max_tokens", "7"}},
           chat, R"({"a":1})", R"({"a":1,"max_tokens":7})");
    expect({{action::set_default, 0, "max_tokens", "50"}, {action::cap, 0, "n_predict", "7"}}, "/completion",
           R"({"a":1})", R"({"a":1,"max_tokens":50})");
}

TEST(policy_edit, rules_in_both_spellings_hold_together)
{
    constexpr std::string_view gemini = "/v1beta/models/g:generateContent";
    const rule_list r{{action::cap, 0, "max_tokens", "100"},
                      {action::cap, 0, "generation_config.topK", "5"},
                      {action::cap, 0, "generationConfig.temperature", "1"},
                      {action::drop, 0, "generation_config.thinking_config", ""},
                      {action::drop, 0, "safetySettings", ""}};
    expect(r, gemini, R"({"generationConfig":{"top_k":9,"maxOutputTokens":700,"temperature":2}})",
           R"({"generationConfig":{"top_k":5,"maxOutputTokens":100,"temperature":1}})");
    expect(r, gemini, R"({"generation_config":{"topK":9,"max_output_tokens":7,"temperature":2}})",
           R"({"generation_config":{"topK":5,"max_output_tokens":7,"temperature":1}})");
    expect(r, gemini, R"({"a":1,"generation_config":{"thinkingConfig":{},"max_output_tokens":7}})",
           R"({"a":1,"generation_config":{                    "max_output_tokens":7}})");
    expect(r, gemini, R"({"safety_settings":[],"generationConfig":{"maxOutputTokens":7}})",
           R"({                     "generationConfig":{"maxOutputTokens":7}})");
    // On other paths too, where rules have both.
    expect(r, chat, R"({"max_tokens":7,"generationConfig":{"topK":9},"safetySettings":7})",
           R"({"max_tokens":7,"generationConfig":{"topK":5}                   })");
    // But not names of bounds that other APIs have: they are put in their own spelling.
    expect({{action::cap, 0, "max_tokens", "100"}, {action::cap, 0, "maxOutputTokens", "7"}}, "/v1/responses",
           R"({"a":1})", R"({"a":1,"max_output_tokens":100})");
    expect({{action::cap, 0, "max_tokens", "100"}, {action::cap, 0, "inference_config.max_tokens", "7"}},
           "/model/m/converse", R"({"a":1})", R"({"a":1,"inferenceConfig":{"maxTokens":100}})");
    // Elsewhere the other spelling is another field.
    expect({{action::drop, 0, "safetySettings", ""}}, chat, R"({"safety_settings":[]})",
           R"({"safety_settings":[]})");
}

TEST(policy_edit, cap_max_tokens_where_it_has_other_names)
{
    const rule_list r{{action::cap, 0, "max_tokens", "100"}};
    constexpr std::string_view vllm = "/inference/v1/generate", vertex = "/vertex_generate",
                               triton = "/v2/models/m/generate", converse = "/model/m/converse",
                               invoke = "/model/m/invoke-with-response-stream";
    expect(r, vllm, R"({"token_ids":[1],"sampling_params":{"max_tokens":5000}})",
           R"({"token_ids":[1],"sampling_params":{"max_tokens":100 }})");
    expect(r, vllm, R"({"max_tokens":5})", R"({"max_tokens":5,"sampling_params":{"max_tokens":100}})");
    expect_fault(r, vllm, R"({"sampling_params":[{"max_tokens":5000}]})", policy_fault::not_an_object,
                 "sampling_params");
    expect(r, vertex, R"({"parameters":{"sampling_params":{"max_new_tokens":-1},"x":1}})",
           '{' + spaces(60) + R"("parameters":{"sampling_params":{"max_new_tokens":100},"x":1}})");
    expect(r, vertex, R"({"instances":[{"text":"a"}]})",
           R"({"instances":[{"text":"a"}],"parameters":{"sampling_params":{"max_new_tokens":100}}})");
    expect_fault(r, vertex, R"({"parameters":{"sampling_params":[{}]}})", policy_fault::not_an_object,
                 "parameters.sampling_params");
    // Each of its backends goes by one of them.
    expect(r, triton, R"({"max_tokens":7})", R"({"max_tokens":7,"parameters":{"max_tokens":100}})");
    expect(r, triton, R"({"parameters":{"max_tokens":7}})",
           R"({"parameters":{"max_tokens":7},"max_tokens":100})");
    expect(r, "/v2/models/m/versions/1/generate_stream",
           R"({"max_tokens":700,"parameters":{"max_tokens":101}})",
           R"({"max_tokens":100,"parameters":{"max_tokens":100}})");
    for (const char* hides : {"\"{\\\"max_tokens\\\":5000}\"", "{}", "5", "[]"}) {
        const std::string body = std::string(R"({"text_input":"x","sampling_parameters":)") + hides + "}";
        expect_fault(r, triton, body, policy_fault::hidden_bound, "sampling_parameters");
        expect_fault(r, "/not/known", body, policy_fault::hidden_bound, "sampling_parameters");
        EXPECT_EQ(edited_by(r.policy, call_of_path(chat), body).fault, policy_fault::none);
    }
    expect(r, triton, R"({"sampling_parameters":null,"max_tokens":1,"parameters":{"max_tokens":1}})",
           R"({"sampling_parameters":null,"max_tokens":1,"parameters":{"max_tokens":1}})");
    expect(r, converse, R"({"inferenceConfig":{"maxTokens":101}})",
           R"({"inferenceConfig":{"maxTokens":100}})");
    expect(r, converse, R"({"messages":[]})", R"({"messages":[],"inferenceConfig":{"maxTokens":100}})");
    expect(r, converse,
           R"({"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"max_tokens":900}})",
           R"({"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"max_tokens":100}})");
    expect(r, invoke, R"({"max_tokens":500})", R"({"max_tokens":100})");
    expect_fault(r, invoke, R"({"prompt":"x","max_gen_len":500})", policy_fault::no_bound, "");
    expect_fault(r, "/v1/publishers/x/models/m:rawPredict", R"({"n_predict":5})", policy_fault::no_bound, "");
    expect(r, "/v1/publishers/x/models/m:streamRawPredict", R"({"max_tokens":500})", R"({"max_tokens":100})");
    expect(r, "/v1/chat/completions/batch", R"({"messages":[[]]})", R"({"messages":[[]],"max_tokens":100})");
    expect(r, "/invocations", R"({"max_tokens":5})",
           R"({"max_tokens":5,"parameters":{"max_new_tokens":100}})");
    expect(r, "/", R"({"inputs":"x"})", R"({"inputs":"x","parameters":{"max_new_tokens":100}})");
    // A small one does not hide another.
    expect(r, invoke, R"({"max_tokens":5,"max_gen_len":500,"max_new_tokens":500,"max_tokens_to_sample":500})",
           R"({"max_tokens":5,"max_gen_len":100,"max_new_tokens":100,"max_tokens_to_sample":100})");
    expect(r, "/Model/m/INVOKE", R"({"max_tokens":500})", R"({"max_tokens":100})");
    expect(r, "/v1/Responses", R"({"a":1})", R"({"a":1,"max_output_tokens":100})");
    expect(r, "/V1/Messages", R"({"a":1})", R"({"a":1,"max_tokens":100})");
    expect(
        r, triton,
        R"({"max_tokens":1,"request_output_len":500,"parameters":{"max_tokens":1,"request_output_len":500}})",
        R"({"max_tokens":1,"request_output_len":100,"parameters":{"max_tokens":1,"request_output_len":100}})");
    expect(
        r, converse,
        R"({"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"max_completion_tokens":900}})",
        R"({"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"max_completion_tokens":100}})");
    for (const char* kobold : {"/api/v1/generate", "/api/latest/generate", "/x/api/extra/generate/stream"}) {
        expect(r, kobold, R"({"max_length":500})", R"({"max_length":100})");
        expect(r, kobold, R"({"a":1})", R"({"a":1,"max_length":100})");
    }
    expect(r, "/tokenize", R"({"max_length":500})", R"({"max_length":500})");
    expect(r, "/v1/embeddings", R"({"max_length":"x"})", R"({"max_length":"x"})");
    const rule_list own{{action::cap, 0, "max_tokens", "100"}, {action::cap, 0, "max_length", "50"}};
    expect(own, "/tokenize", R"({"max_length":500})", R"({"max_length":50 })");
    for (const char* path : {"/v1/embeddings", "/v1/images/generations", "/v1/rerank", "/v1/audio/speech",
                             "/api/embed", "/v1beta/models/g:embedContent"}) {
        for (const char* body : {R"({"options":[]})", R"({"parameters":"x"})", R"({"generationConfig":5})"}) {
            expect(r, path, body, body);
        }
    }
    const rule_list d{{action::drop, 0, "x", ""}};
    expect(d, invoke, R"({"prompt":"x"})", R"({"prompt":"x"})");
}

// What is below 1 is no bound to some servers, by whichever name it is capped.
TEST(policy_edit, cap_max_tokens_refuses_bounds_within)
{
    const rule_list r{{action::cap, 0, "max_tokens", "100"}};
    const auto in = [](std::string_view field, std::string_view value) {
        return "{\"max_tokens\":5,\"" + std::string(field) + "\":" + std::string(value) + "}";
    };
    for (const std::string_view field :
         {"tools", "plugins", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks"}) {
        for (const std::string_view value :
             {R"([{"model":"m","max_tokens":9000}])", R"(["a",{},{"max_completion_tokens":1}])",
              R"([{"max_tokens":"9000"}])", R"([{"max_tokens":-1}])", R"([{"Max_Tokens":9000}])",
              R"([{"max\u005ftokens":9000}])", R"([{"max_tokens\u0000":9000}])",
              "[{\"max_to\u212aens\":9000}]",
              R"([{"type":"a:b","parameters":{"model":"m","max_completion_tokens":9000}}])",
              R"([{"max_output_tokens":1}])", R"([{"n_predict":1}])", R"([{"options":{"num_predict":1}}])",
              R"([{"parameters":{"max_new_tokens":1}}])", R"([{"generationConfig":{"maxOutputTokens":1}}])",
              R"([{"m":[{"model":"x","max_tokens":1}]}])", R"([{"parameters":{"tools":[{"max_tokens":1}]}}])",
              R"([{"parameters":{"tools":[{"parameters":{"max_completion_tokens":1}}]}}])"}) {
            for (const std::string_view path :
                 {chat, std::string_view("/v1/messages"), std::string_view("/v1/responses"),
                  std::string_view("/not/known")}) {
                expect_fault(r, path, in(field, value), policy_fault::bound_within, field);
            }
            for (const size_t step : {size_t{1}, size_t{7}}) {
                const made m =
                    edited_by(r.policy, call_of_path(chat), in(field, value), usage_inject::off, step);
                EXPECT_EQ(m.fault, policy_fault::bound_within) << value;
            }
        }
        // A function may have an argument of such a name; and an element may be anything.
        for (const std::string_view value :
             {"null", "[]", "{}", "5", "\"max_tokens\"", R"([{"model":"m","max_tokens":null,"max_uses":3}])",
              R"([{"name":"f","input_schema":{"type":"object","properties":{"max_tokens":{"type":"integer",)"
              R"("default":5}},"required":["max_tokens"]},"input_examples":[{"max_tokens":5}]}])",
              R"([{"name":"f","parameters":{"properties":{"max_tokens":{"default":5}}}}])",
              R"([{"parameters":{"max_tokens":{"type":"integer"}}}])",
              R"([{"function":{"name":"f","parameters":{"properties":{"max_tokens":{"default":5}}}}}])",
              R"([{"model":"m","messages":[{"content":[{"input":{"max_tokens":5}}]}]}])",
              R"(["max_tokens"])"}) {
            expect(r, chat, in(field, value), in(field, value));
        }
        // Where no text is made it does not matter.
        expect(r, "/v1/embeddings", in(field, R"([{"max_tokens":9000}])"),
               in(field, R"([{"max_tokens":9000}])"));
    }
    expect_fault(r, chat, R"({"tools":[],"tools":[]})", policy_fault::duplicate_field, "tools");
    expect_fault(r, chat, R"({"plugins":[],"plugins":[]})", policy_fault::duplicate_field, "plugins");
    expect_fault(r, chat, R"({"Tools":[{"max_tokens":5}]})", policy_fault::ambiguous_name, "tools");
    // Without the cap, without the field, or in what the configuration puts there.
    constexpr std::string_view body = R"({"max_tokens":5,"tools":[{"max_tokens":9000}]})";
    const rule_list other{{action::cap, 0, "n", "1"}};
    expect(other, chat, body, body);
    const rule_list dropped{{action::cap, 0, "max_tokens", "100"}, {action::drop, 0, "tools", ""}};
    expect(dropped, chat, body, R"({"max_tokens":5                              })");
    const rule_list allowed{{action::cap, 0, "max_tokens", "100"}, {action::allow, 0, "max_tokens", ""}};
    expect(allowed, chat, body, R"({"max_tokens":5                              })");
    const rule_list set{{action::cap, 0, "max_tokens", "100"},
                        {action::set, 0, "tools", R"([{"max_tokens":9}])"}};
    expect(set, chat, body, R"({"max_tokens":5,"tools":[{"max_tokens":9}]   })");
}

TEST(policy_edit, a_cap_on_one_bound)
{
    const rule_list r{{action::cap, 0, "options.num_predict", "100"},
                      {action::cap, 0, "max_completion_tokens", "10"},
                      {action::cap, 0, "other", "10"}};
    expect(r, "/api/chat", R"({"options":{"num_predict":-1}})",
           '{' + spaces(28) + R"("options":{"num_predict":100}})");
    expect(r, chat, R"({"max_completion_tokens":0,"other":-1})",
           R"({                          "other":-1,"max_completion_tokens":10})");
    expect(r, chat, "{}", "{}");
}

TEST(policy_edit, default_and_set)
{
    const rule_list r{{action::set_default, 0, "seed", "7"},
                      {action::set, 0, "user", R"("x")"},
                      {action::set, 0, "k.e", "false"},
                      {action::set_default, 0, "k.n", "[1]"}};
    expect(r, chat, R"({})", R"({"seed":7,"user":"x","k":{"e":false,"n":[1]}})");
    expect(r, chat, R"({"seed":1,"user":"longer","k":{"n":2,"e":true,"z":0}})",
           R"({"seed":1,"user":"x"     )" + spaces(27) + R"(,"k":{"n":2,"e":false,"z":0}})");
    expect_fault(r, chat, R"({"k":1})", policy_fault::not_an_object, "k");
}

TEST(policy_edit, with_usage)
{
    const rule_list r{{action::allow, 0, "messages", ""}, {action::cap, 0, "max_tokens", "100"}};
    const made m = edited_by(r.policy, call_of_path(chat),
                             R"({"a":1,"stream_options":{"include_usage":false,"x":1},"stream":true})",
                             usage_inject::final);
    EXPECT_EQ(m.body,
              R"({                                                     "stream":true,"max_tokens":100,)"
              R"("stream_options":{"include_usage":true}})");
    const rule_list d{{action::drop, 0, "a", ""}};
    EXPECT_EQ(edited_by(d.policy, call_of_path(chat),
                        R"({"a":1,"stream_options":{"include_usage":false,"x":1},"stream":true})",
                        usage_inject::final)
                  .body,
              R"({                                                     "stream":true,)"
              R"("stream_options":{"include_usage":true,"x":1}})");
    EXPECT_EQ(edited_by(d.policy, call_of_path(chat),
                        R"({"a":1,"stream_options":{"include_usage":true},"stream":true})",
                        usage_inject::final)
                  .body,
              R"({      "stream_options":{"include_usage":true},"stream":true})");
}

// --- random bodies and policies, beside the reference

struct generator {
    std::mt19937 random;

    size_t below(size_t n) { return random() % n; }
    template <class T, size_t N>
    T pick(const T (&from)[N])
    {
        return from[below(N)];
    }
    std::string space() { return std::string(below(8) == 0 ? below(3) : 0, pick({' ', '\n', '\t'})); }
    std::string name()
    {
        return pick({"max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict", "options",
                     "parameters", "sampling_params", "generationConfig", "num_predict", "max_new_tokens",
                     "maxOutputTokens", "temperature", "a", "b", "c", "seed", "user"});
    }
    std::string written(const std::string& name)
    {
        std::string out;
        for (const char c : name) {
            if (below(12) == 0) {
                char escape[8];
                snprintf(escape, sizeof escape, "\\u%04x", c);
                out += escape;
            } else {
                out += c;
            }
        }
        return '"' + out + '"';
    }
    std::string value(unsigned depth)
    {
        switch (below(depth > 2 ? 6 : 9)) {
        case 0:
            return pick({"null", "true", "\"text\"", "\"}\""});
        case 1:
            return std::to_string(static_cast<int>(below(20)) - 3);
        case 2:
            return pick({"1.5", "2e1", "0", "-0.5", "99999", "100", "101", "7", "1E+2", "0.25"});
        case 3:
        case 4:
        case 5:
            return std::to_string(below(300));
        case 6:
            return "[" + (below(2) ? value(depth + 1) : "") + "]";
        default:
            return object(depth + 1);
        }
    }
    std::string object(unsigned depth)
    {
        std::vector<std::string> names;
        std::string out = "{" + space();
        for (size_t n = below(6); n != 0; --n) {
            const std::string one = name();
            if (std::find(names.begin(), names.end(), one) != names.end())
                continue;
            if (!names.empty())
                out += ',' + space();
            names.push_back(one);
            out += written(one) + space() + ':' + space() + value(depth) + space();
        }
        return out + '}';
    }
    std::string field()
    {
        std::string out = name();
        for (unsigned depth = 0; depth < 2 && below(3) == 0; ++depth)
            out += '.' + name();
        return out;
    }
};

struct call_case {
    const char* path;
    std::vector<std::string> own, give;
};

const call_case calls[] = {
    {"/v1/chat/completions", {"max_tokens", "max_completion_tokens"}, {"max_tokens"}},
    {"/v1/responses", {"max_output_tokens"}, {"max_output_tokens"}},
    {"/api/chat", {"options.num_predict"}, {"options.num_predict"}},
    {"/completion", {"n_predict", "max_tokens"}, {"n_predict"}},
    {"/v1/not/known",
     {"max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict", "max_new_tokens",
      "options.num_predict", "parameters.max_new_tokens", "parameters.max_tokens",
      "parameters.sampling_params.max_new_tokens", "sampling_params.max_new_tokens",
      "sampling_params.max_tokens", "generationConfig.maxOutputTokens", "generationConfig.max_output_tokens"},
     {}},
    {"/inference/v1/generate", {"sampling_params.max_tokens"}, {"sampling_params.max_tokens"}},
    {"/vertex_generate",
     {"parameters.sampling_params.max_new_tokens"},
     {"parameters.sampling_params.max_new_tokens"}},
};

// What says the same as before is there as it was written.
void expect_bytes(std::string_view body, const std::string& result, json_t* want)
{
    request_facts facts;
    std::vector<body_member> room(body_members::usual);
    facts.keep_members(room);
    facts.feed(body);
    ASSERT_EQ(facts.finish(), body_fault::none);
    json_t* was = json_loadb(body.data(), body.size(), 0, nullptr);
    for (const body_member& m : facts.members().kept()) {
        const std::string quoted = '[' + std::string(body.substr(m.name.begin, m.name.size())) + ']';
        json_t* name = json_loads(quoted.c_str(), 0, nullptr);
        const char* key = json_string_value(json_array_get(name, 0));
        if (json_equal(json_object_get(want, key), json_object_get(was, key))) {
            EXPECT_NE(result.find(body.substr(m.value.begin, m.value.size())), std::string::npos)
                << body << '\n'
                << result;
        }
        json_decref(name);
    }
    json_decref(was);
}

// It is a bound, or is around or within one: what rules make of that is not for the reference.
bool is_about_bound(const std::string& field)
{
    return std::any_of(std::begin(policy_reference::bounds), std::end(policy_reference::bounds),
                       [&](const std::string& bound) {
                           return (bound + '.').starts_with(field + '.')
                                  || (field + '.').starts_with(bound + '.');
                       });
}

TEST(policy_edit, random_bodies_and_policies)
{
    generator g{std::mt19937(20261128)};
    size_t changed = 0;
    size_t refused = 0;
    for (unsigned round = 0; round < 60000; ++round) {
        request_rules checked;
        std::vector<reference_rule> rules;
        double bound = 0;
        for (size_t n = 1 + g.below(5); n != 0; --n) {
            const auto what = static_cast<action>(g.below(5));
            const std::string field = what == action::allow ? g.name() : g.field();
            std::string value;
            if (what == action::cap)
                value = g.pick({"5", "50", "100", "1.5"});
            else if (what != action::allow && what != action::drop)
                value = g.pick({"5", "60", "\"v\"", "[1,2]", "true", "1.25", "null"});
            const bool puts = what == action::set || what == action::set_default;
            if ((what != action::allow && what != action::drop && is_about_bound(field))
                && !(policy_reference::is_bound(field) && (!puts || isdigit(value[0]) != 0)))
                continue;
            // One field in two spellings, see rules_in_both_spellings_hold_together.
            if (field.starts_with("generationConfig.max"))
                continue;
            // Of two of them only the first would be put.
            if (what == action::set_default && policy_reference::is_bound(field)
                && std::any_of(rules.begin(), rules.end(), [](const reference_rule& other) {
                       return other.action == action::set_default && policy_reference::is_bound(other.field);
                   }))
                continue;
            if (!request_rules::field_fault(what, field).empty()
                || (!value.empty() && !request_rules::value_fault(what, field, value).empty())
                || !checked.add(what, field, value).empty())
                continue;
            if (what == action::cap && field == "max_tokens")
                bound = std::stod(value);
            else
                rules.push_back({what, 0, field, value});
        }
        request_policy policy;
        ASSERT_TRUE(policy.add(checked.text()));
        ASSERT_TRUE(policy.finish());
        const call_case& c = calls[g.below(std::size(calls))];
        const std::string body = g.space() + g.object(0) + g.space();
        json_t* want = json_loads(body.c_str(), JSON_REJECT_DUPLICATES, nullptr);
        ASSERT_NE(want, nullptr) << body;
        json_t* config = json_object_get(want, "generationConfig");
        if (json_object_get(config, "maxOutputTokens") && json_object_get(config, "max_output_tokens")) {
            json_decref(want);
            continue;
        }
        policy_reference reference(rules, bound, c.own, c.give);
        const bool let = reference.apply(want);
        const made m = edited_by(policy, call_of_path(c.path), body, usage_inject::off,
                                 round % 3 == 0 ? 1 + g.below(40) : SIZE_MAX);
        std::string said;
        for (const reference_rule& rule : rules)
            said += std::string(policy_actions[static_cast<size_t>(rule.action)]) + ' ' + rule.field + ' '
                    + rule.value + "; ";
        said += std::string(" bound ") + std::to_string(bound) + ' ' + c.path + "\n" + body;
        ASSERT_EQ(m.fault == policy_fault::none, let) << said << "\n" << m.faulty;
        if (let) {
            json_t* got = json_loads(m.body.c_str(), JSON_REJECT_DUPLICATES, nullptr);
            ASSERT_NE(got, nullptr) << said << "\n" << m.body;
            char* wanted = json_dumps(want, JSON_SORT_KEYS);
            char* is = json_dumps(got, JSON_SORT_KEYS);
            ASSERT_STREQ(wanted, is) << said << "\n" << m.body;
            free(wanted);
            free(is);
            json_decref(got);
            changed += m.changed;
            expect_bytes(body, m.body, want);
        } else {
            ++refused;
        }
        json_decref(want);
    }
    EXPECT_GT(changed, 5000u);
    EXPECT_GT(refused, 1000u);
}

} // namespace
