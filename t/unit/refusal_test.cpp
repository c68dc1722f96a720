#include "core/api/error_body.h"
#include "core/api/status_answer.h"
#include "core/base/json_text.h"

#include <gtest/gtest.h>
#include <jansson.h>
#include <memory>
#include <string>
#include <vector>

using namespace llm;

namespace {

using json = std::unique_ptr<json_t, decltype(&json_decref)>;

constexpr api all_apis[] = {api::openai, api::responses, api::anthropic, api::ollama, api::gemini};
constexpr stream_form all_forms[] = {stream_form::events, stream_form::json_lines};

std::string body(api as, const error_text& error)
{
    std::vector<char> text(error_text_bytes(error));
    size_t length = write_error_body(as, error, text.data());
    EXPECT_LE(length, text.size());
    return {text.data(), length};
}

std::string body(refusal why, std::string_view detail)
{
    return body(api::openai, {answer_of(why), detail, {}});
}

std::string event(api as, stream_form form, const error_text& error)
{
    std::vector<char> text(error_text_bytes(error));
    size_t length = write_error_event(as, form, error, text.data());
    EXPECT_LE(length, text.size());
    return {text.data(), length};
}

json parse(const std::string& text)
{
    return json(json_loads(text.c_str(), JSON_REJECT_DUPLICATES, nullptr), json_decref);
}

std::string string_of(const json_t* value)
{
    const char* text = json_string_value(value);
    return text ? text : "(null)";
}

std::string field(const std::string& text, const char* name)
{
    return string_of(json_object_get(json_object_get(parse(text).get(), "error"), name));
}

std::vector<refusal> all_refusals()
{
    std::vector<refusal> all;
    for (int i = 1; i <= static_cast<int>(refusal::internal); i++) {
        all.push_back(static_cast<refusal>(i));
    }
    return all;
}

// What each API's readers need; `text` ends with a line feed.
void expect_shape(api as, const std::string& text)
{
    ASSERT_FALSE(text.empty());
    EXPECT_EQ(text.back(), '\n');
    json root = parse(text);
    ASSERT_TRUE(root) << text;
    json_t* error = json_object_get(root.get(), "error");
    switch (as) {
    case api::openai:
    case api::responses:
        EXPECT_EQ(json_object_size(root.get()), 1u) << text;
        for (const char* name : {"message", "type", "param", "code"}) {
            EXPECT_TRUE(json_object_get(error, name)) << text;
        }
        break;
    case api::anthropic:
        EXPECT_EQ(string_of(json_object_get(root.get(), "type")), "error") << text;
        EXPECT_TRUE(json_object_get(root.get(), "request_id")) << text;
        EXPECT_NE(string_of(json_object_get(error, "type")), "(null)") << text;
        EXPECT_NE(string_of(json_object_get(error, "message")), "(null)") << text;
        EXPECT_EQ(json_object_size(error), 2u) << text;
        break;
    case api::ollama:
        EXPECT_TRUE(json_is_string(error)) << text;
        EXPECT_EQ(json_object_size(root.get()), 1u) << text;
        break;
    case api::gemini:
        EXPECT_TRUE(json_is_integer(json_object_get(error, "code"))) << text;
        EXPECT_NE(string_of(json_object_get(error, "message")), "(null)") << text;
        EXPECT_NE(string_of(json_object_get(error, "status")), "(null)") << text;
        EXPECT_EQ(json_object_size(error), 3u) << text;
        break;
    }
}

} // namespace

TEST(refusal, every_body_has_the_shape_of_its_api)
{
    for (refusal why : all_refusals()) {
        EXPECT_GE(answer_of(why).status, 400);
        EXPECT_FALSE(answer_of(why).reason.empty());
        for (api as : all_apis) {
            expect_shape(as, body(as, {answer_of(why), "x", "id"}));
        }
    }
}

TEST(refusal, what_sdks_look_at)
{
    EXPECT_EQ(answer_of(refusal::invalid_key).status, 401);
    EXPECT_EQ(field(body(refusal::invalid_key, ""), "code"), "invalid_api_key");
    EXPECT_EQ(field(body(refusal::no_key, ""), "code"), "(null)");
    EXPECT_EQ(answer_of(refusal::model).status, 404);
    EXPECT_EQ(field(body(refusal::model, "m"), "code"), "model_not_found");
    EXPECT_EQ(field(body(refusal::model, "m"), "message"),
              "The model `m` does not exist or you do not have access to it.");
}

TEST(refusal, a_detail_of_any_bytes_fits_and_stays_a_string)
{
    std::string worst(300, '\x01');
    error_text error = {answer_of(refusal::model), worst, worst};
    for (api as : all_apis) {
        expect_shape(as, body(as, error));
        for (stream_form form : all_forms) {
            event(as, form, error);
        }
    }
    EXPECT_EQ(field(body(refusal::model, worst), "code"), "model_not_found");
    EXPECT_EQ(field(body(refusal::model, "a\"b\\c\n"), "message"),
              "The model `a\"b\\c\n` does not exist or you do not have access to it.");
    // Not UTF-8: a JSON reader must still take the body.
    EXPECT_EQ(field(body(refusal::model, "a\xff\xc3(\xe4\xbd\xa0"), "message"),
              "The model `a?"
              "?(\xe4\xbd\xa0` does not exist or you do not have access to it.");
}

TEST(refusal, bodies_to_the_byte)
{
    error_text error = {answer_of(refusal::model), "m", "r1"};
    const std::string message = R"("The model `m` does not exist or you do not have access to it.")";
    EXPECT_EQ(body(api::openai, error), R"({"error":{"message":)" + message
                                            + R"(,"type":"invalid_request_error","param":null,)"
                                              R"("code":"model_not_found"}})"
                                              "\n");
    EXPECT_EQ(body(api::responses, error), body(api::openai, error));
    EXPECT_EQ(body(api::anthropic, error), R"({"type":"error","error":{"type":"not_found_error","message":)"
                                               + message
                                               + R"(},"request_id":"r1"})"
                                                 "\n");
    EXPECT_EQ(body(api::ollama, error), R"({"error":)" + message + "}\n");
    error.request_id = {};
    EXPECT_EQ(string_of(json_object_get(parse(body(api::anthropic, error)).get(), "request_id")), "(null)");
}

TEST(refusal, anthropics_types)
{
    const std::pair<refusal, std::string_view> types[] = {
        {refusal::no_key, "authentication_error"},
        {refusal::network, "authentication_error"},
        {refusal::model, "not_found_error"},
        {refusal::bad_request, "invalid_request_error"},
        {refusal::unsupported_encoding, "invalid_request_error"},
        {refusal::requests, "rate_limit_error"},
        {refusal::quota, "rate_limit_error"},
        {refusal::zone_full, "overloaded_error"},
        {refusal::internal, "api_error"},
    };
    for (auto& [why, type] : types) {
        EXPECT_EQ(field(body(api::anthropic, {answer_of(why), "", ""}), "type"), type);
    }
    EXPECT_EQ(anthropic_type(403), "permission_error");
    EXPECT_EQ(anthropic_type(413), "request_too_large");
    EXPECT_EQ(anthropic_type(502), "api_error");
    EXPECT_EQ(anthropic_type(504), "timeout_error");
}

TEST(refusal, a_limit_in_words)
{
    auto message = [](const limit_refusal& by) {
        char detail[limit_detail_bytes];
        return field(body(refusal_of(by), write_limit_detail(by, detail)), "message");
    };
    using kind = limit_kind;
    const auto key = subject_kind::key;
    const auto no = quota_window::none;
    EXPECT_EQ(message({kind::requests, key, no, 10, 6000, 60000}),
              "Rate limit reached for requests: limit 10 per minute for this key. Please try again in 6s.");
    // Long: in words it is no quota.
    EXPECT_EQ(message({kind::requests, key, no, 10, 358001, 3600000}),
              "Rate limit reached for requests: limit 10 per hour for this key. Please try again in 359s.");
    EXPECT_EQ(
        message({kind::tokens, subject_kind::user, no, 100000, 90000000, 86400000}),
        "Rate limit reached for tokens: limit 100000 per day for this user. Please try again in 90000s.");
    EXPECT_EQ(
        message({kind::failures, subject_kind::address, no, 20, 61000, 3600000}),
        "Too many wrong API keys from your address: limit 20 per hour for this address. Please try again in "
        "61s.");
    EXPECT_EQ(message({kind::quota, key, quota_window::day, 1000, 61000}),
              "You exceeded your current quota: limit 1000 for this key.");
    EXPECT_EQ(message({kind::requests, key, no, 1, limit_refusal::wait_never, 1000}),
              "Rate limit reached for requests: limit 1 per second for this key.");
    EXPECT_LE(message({kind::requests, subject_kind::address, no, UINT64_MAX, UINT64_MAX - 1, 60000}).size(),
              limit_detail_bytes);
    // By these clients give up.
    for (kind k : {kind::requests, kind::tokens, kind::failures}) {
        const refusal_answer& answer = answer_of(refusal_of({k, key, no, 1, 61000, 3600000}));
        EXPECT_EQ(answer.code, "insufficient_quota");
        EXPECT_EQ(answer.type, "insufficient_quota");
        EXPECT_TRUE(answer.give_up);
    }
}

TEST(refusal, the_event_that_ends_a_stream)
{
    error_text error = {answer_of(refusal::quota), "limit 1", ""};
    const std::string message = R"("You exceeded your current quota: limit 1.")";
    const std::string fields = R"({"message":)" + message
                               + R"(,"type":"insufficient_quota","param":null,"code":"insufficient_quota"})";
    EXPECT_EQ(event(api::openai, stream_form::events, error), "data: {\"error\":" + fields + "}\n\n");
    EXPECT_EQ(event(api::ollama, stream_form::events, error), event(api::openai, stream_form::events, error));
    EXPECT_EQ(event(api::anthropic, stream_form::events, error),
              R"(event: error
data: {"type":"error","error":{"type":"rate_limit_error","message":)"
                  + message + "}}\n\n");
    EXPECT_EQ(event(api::responses, stream_form::events, error),
              R"(event: error
data: {"type":"error","code":"insufficient_quota","message":)"
                  + message + R"(,"param":null,"sequence_number":0,"error":)" + fields + "}\n\n");
    for (api as : all_apis) {
        EXPECT_EQ(event(as, stream_form::json_lines, error), "{\"error\":" + message + "}\n");
    }
}

TEST(refusal, every_event_is_one_line_of_json_in_each_form)
{
    for (refusal why : all_refusals()) {
        error_text error = {answer_of(why), "a\nb\r\n\nc", "id"};
        for (api as : all_apis) {
            std::string text = event(as, stream_form::events, error);
            size_t data = text.find("data: ");
            ASSERT_NE(data, std::string::npos);
            EXPECT_EQ(text.find("\n\n"), text.size() - 2);
            json root = parse(text.substr(data + 6));
            ASSERT_TRUE(root) << text;
            // Without it OpenAI's SDKs raise nothing.
            EXPECT_TRUE(json_object_get(root.get(), "error")) << text;
            std::string line = event(as, stream_form::json_lines, error);
            EXPECT_EQ(line.find('\n'), line.size() - 1);
            EXPECT_TRUE(json_is_string(json_object_get(parse(line).get(), "error"))) << line;
        }
    }
}

TEST(refusal, nobody_tries_a_wrong_key_again)
{
    for (refusal why : all_refusals()) {
        const refusal_answer& answer = answer_of(why);
        if (answer.status == 401) {
            EXPECT_TRUE(answer.give_up) << answer.message;
        }
        if (answer.status >= 500) {
            EXPECT_FALSE(answer.give_up) << answer.message;
            EXPECT_EQ(answer.retry_after, 0) << answer.message;
        }
    }
}

TEST(status_answer, each_status_has_one_in_each_shape)
{
    for (unsigned status = 400; status < 600; status++) {
        refusal_answer answer = answer_of_status(status);
        EXPECT_EQ(answer.status, status >= 494 && status <= 497 ? 400 : status);
        for (api as : all_apis) {
            expect_shape(as, body(as, {answer, {}, "id"}));
        }
        EXPECT_EQ(answer.message.find('%'), std::string_view::npos);
        // What makes LangChain take an error for a spent quota.
        for (const char* word : {"quota", "billing", "credit"}) {
            EXPECT_EQ(answer.message.find(word), std::string_view::npos) << answer.message;
        }
        EXPECT_EQ(answer.type == "server_error", status >= 500) << status;
        EXPECT_EQ(answer.authenticate, status == 401);
    }
}

TEST(status_answer, what_clients_do_next)
{
    for (unsigned status : {502u, 503u, 504u}) {
        // A client's own waits grow.
        EXPECT_EQ(answer_of_status(status).retry_after, 0) << status;
        EXPECT_FALSE(answer_of_status(status).give_up) << status;
    }
    EXPECT_TRUE(answer_of_status(401).give_up);
    EXPECT_TRUE(answer_of_status(413).give_up);
    EXPECT_EQ(answer_of_status(413).code, "request_too_large");
    EXPECT_EQ(answer_of_status(404).retry_after, 0);
}

TEST(status_answer, no_error_is_a_404)
{
    for (unsigned status : {0u, 100u, 200u, 302u, 399u, 600u, 999u}) {
        EXPECT_EQ(answer_of_status(status).status, 404) << status;
    }
}

TEST(api, streams_unasked)
{
    EXPECT_TRUE(call_of_path("/api/chat").streams_unasked);
    EXPECT_TRUE(call_of_path("/ollama/api/generate").streams_unasked);
    for (const char* path : {"/api/embed", "/v1/chat/completions", "/api/chat/completions", "/chat", ""}) {
        EXPECT_FALSE(call_of_path(path).streams_unasked) << path;
    }
}

TEST(api, a_path_may_name_the_model)
{
    EXPECT_EQ(call_of_path("/v1beta/models/gemini-pro:generateContent").model, "gemini-pro");
    EXPECT_FALSE(call_of_path("/v1beta/models/gemini-pro:generateContent").streams);
    EXPECT_TRUE(call_of_path("/v1/models/gemini-pro:streamGenerateContent").streams);
    EXPECT_EQ(call_of_path("/v1beta/tunedModels/mine:generateContent").model, "tunedModels/mine");
    EXPECT_EQ(call_of_path("/v1/chat/completions").model, "");
}

TEST(api, by_the_path)
{
    const std::pair<std::string_view, api> paths[] = {
        {"/v1/chat/completions", api::openai},
        {"/v1/models", api::openai},
        {"", api::openai},
        {"/", api::openai},
        {"*", api::openai},
        {"/v1beta/models/gemini-pro:generateContent", api::gemini},
        {"/v1beta/models/gemini-pro:streamGenerateContent?alt=sse", api::gemini},
        {"/google/v1/tunedModels/mine:embedContent", api::gemini},
        {"/v1beta/models", api::openai},
        {"/v1/models/gemini-pro", api::openai},
        {"/v1beta/models/:generateContent", api::openai},
        {"/v1beta/files/a:download", api::openai},
        {"/v1/messages", api::anthropic},
        {"/v1/messages/count_tokens", api::anthropic},
        {"/v1/messages/batches/b1/results", api::anthropic},
        {"/v1/messages?beta=true", api::anthropic},
        {"/anthropic/v1/messages", api::anthropic},
        {"/v1/messagesx", api::openai},
        {"/v1/messagesx/v1/messages", api::anthropic},
        {"/v1/threads/t1/messages", api::openai},
        {"/v1/chat/completions?next=/v1/messages", api::openai},
        {"/v1/responses", api::responses},
        {"/v1/responses/r1/cancel", api::responses},
        {"/openai/responses?api-version=1", api::responses},
        {"/v1/responsesx", api::openai},
        {"/api/chat", api::ollama},
        {"/api/generate", api::ollama},
        {"/api/embed", api::ollama},
        {"/api/embeddings", api::ollama},
        {"/api/tags?x=1", api::ollama},
        {"/api/show", api::ollama},
        {"/api/blobs/sha256:1", api::ollama},
        {"/ollama/api/chat", api::ollama},
        {"/api/chat/completions", api::openai},
        {"/api/v1/chat/completions", api::openai},
        {"/api/v1/messages", api::anthropic},
        {"/api", api::openai},
        {"/api/", api::openai},
        {"/v1/api/chats", api::openai},
    };
    for (auto& [path, expected] : paths) {
        EXPECT_EQ(api_of_path(path), expected) << path;
    }
}
