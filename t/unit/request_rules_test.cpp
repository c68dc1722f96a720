#include "keys/request_rules.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

TEST(request_rules, values_of_a_configuration)
{
    using namespace std::string_view_literals;
    for (const std::string_view json : {"1", "-0.5e3", "true", "null", "\"a b\"", "[1,{\"a\":[]}]", "{}"})
        EXPECT_EQ(json_of_argument(json), json);
    EXPECT_EQ(json_of_argument("low"), "\"low\"");
    EXPECT_EQ(json_of_argument("org/model-1.5:free"), "\"org/model-1.5:free\"");
    for (const std::string_view other : {""sv, "True"sv, "None"sv, "on"sv, "01"sv, "1 2"sv, "[1"sv, "a b"sv,
                                         "1\0"sv, "\"a\"\0"sv, "a\0"sv, "{\"a\":1,\"a\":2}"sv})
        EXPECT_EQ(json_of_argument(other), std::nullopt) << other;
}

TEST(request_rules, values_of_bounds_are_bounds)
{
    using action = policy_action;
    const auto fault = [](action what, std::string_view field, std::string_view value) {
        return request_rules::value_fault(what, field, value);
    };
    for (const std::string_view field :
         {"max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict", "options.num_predict",
          "parameters.max_new_tokens", "parameters.max_tokens", "sampling_params.max_new_tokens",
          "sampling_params.max_tokens", "parameters.sampling_params.max_new_tokens",
          "inferenceConfig.maxTokens", "generationConfig.maxOutputTokens",
          "generation_config.max_output_tokens", "Max_Tokens"}) {
        for (const action what : {action::set, action::set_default, action::cap}) {
            for (const std::string_view wrong :
                 {"null", "\"50\"", "-1", "0", "0.5", "1.5", "true", "[5]", "{}"}) {
                EXPECT_NE(fault(what, field, wrong), "") << field << ' ' << wrong;
            }
            EXPECT_EQ(fault(what, field, "50"), "") << field;
            EXPECT_EQ(fault(what, field, "5e1"), "") << field;
        }
    }
    for (const std::string_view around :
         {"options", "Options", "parameters", "sampling_params", "generationConfig", "generation_config",
          "inferenceConfig", "parameters.sampling_params", "additionalModelRequestFields",
          "sampling_parameters"}) {
        for (const std::string_view value : {"{}", "null", "5", "\"x\"", "[]"}) {
            EXPECT_NE(fault(action::set, around, value), "") << around << value;
            EXPECT_NE(fault(action::set_default, around, value), "") << around << value;
        }
    }
    EXPECT_EQ(fault(action::set, "top_k", "-1"), "");
    EXPECT_EQ(fault(action::set, "options.num_ctx", "null"), "");
    EXPECT_NE(request_rules::field_fault(action::set, "Options.num_predict.x"), "");
}

TEST(request_rules, names_that_mean_something_else)
{
    using action = policy_action;
    for (const std::string_view list : {"a,b", "logit_bias,", "generationConfig.a,b"})
        EXPECT_NE(request_rules::field_fault(action::drop, list), "") << list;
    EXPECT_EQ(request_rules::field_fault(action::cap, "Max_Tokens"), "servers call it \"max_tokens\"");
    EXPECT_EQ(request_rules::field_fault(action::set, "Options.num_predict"),
              "servers call it \"options.num_predict\"");
    EXPECT_EQ(request_rules::field_fault(action::set, "generation_config.max_output_tokens"), "");
    EXPECT_EQ(request_rules::field_fault(action::set, "maxTokens"), "");
}

TEST(request_rules, both_spellings_of_geminis_are_one_field)
{
    using action = policy_action;
    const auto second = [](std::string_view a, std::string_view b, action what) {
        request_rules rules;
        EXPECT_EQ(rules.add(action::set, a, "1"), "");
        return rules.add(what, b, "1");
    };
    EXPECT_NE(second("generationConfig.temperature", "generation_config.temperature", action::set), "");
    EXPECT_NE(second("generation_config.top_k", "generationConfig.topK", action::cap), "");
    EXPECT_NE(second("safety_settings", "safetySettings", action::drop), "");
    EXPECT_EQ(second("generation_config.top_k", "generationConfig.topP", action::cap), "");
    EXPECT_EQ(second("max_tokens", "maxTokens", action::drop), ""); // no names of Gemini's
}

TEST(request_rules, fields_within_others)
{
    using action = policy_action;
    const auto wrong = [](std::string_view outer, std::string_view inner) {
        request_rules rules, turned;
        EXPECT_EQ(rules.add(action::drop, outer, ""), "");
        EXPECT_EQ(turned.add(action::cap, inner, "1"), "");
        const std::string said = rules.add(action::cap, inner, "1");
        EXPECT_EQ(said.empty(), turned.add(action::drop, outer, "").empty()) << outer << ' ' << inner;
        return !said.empty();
    };
    EXPECT_TRUE(wrong("a", "a.b"));
    EXPECT_TRUE(wrong("generation_config", "generationConfig.x"));
    EXPECT_TRUE(wrong("generationConfig", "generation_config.x"));
    EXPECT_TRUE(wrong("generation_config.thinking_config", "generationConfig.thinkingConfig.thinkingBudget"));
    EXPECT_TRUE(
        wrong("generation_config.thinkingConfig", "generation_config.thinking_config.thinkingBudget"));
    EXPECT_FALSE(wrong("generation_config", "generationConfigs.x"));
    EXPECT_FALSE(wrong("generation_config.a", "generationConfig.b"));
}

TEST(request_rules, values_above_the_cap_on_all_bounds)
{
    using action = policy_action;
    for (const bool cap_first : {true, false}) {
        for (const action what : {action::set, action::set_default}) {
            const auto wrong = [&](std::string_view field, std::string_view value) {
                request_rules rules;
                const std::string first =
                    cap_first ? rules.add(action::cap, "max_tokens", "100") : rules.add(what, field, value);
                EXPECT_EQ(first, "");
                return cap_first ? rules.add(what, field, value)
                                 : rules.add(action::cap, "max_tokens", "100");
            };
            EXPECT_NE(wrong("max_completion_tokens", "101"), "");
            EXPECT_NE(wrong("options.num_predict", "1e3"), "");
            EXPECT_EQ(wrong("max_completion_tokens", "100"), "");
            EXPECT_EQ(wrong("top_k", "101"), "");
        }
    }
}

} // namespace
