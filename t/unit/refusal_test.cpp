#include "core/refusal.h"

#include <gtest/gtest.h>
#include <jansson.h>
#include <memory>
#include <string>

using namespace llm;

namespace {

using json = std::unique_ptr<json_t, decltype(&json_decref)>;

std::string body(refusal why, std::string_view detail)
{
    std::string text(refusal_body_bytes(why, detail), '\0');
    text.resize(write_refusal_body(why, detail, text.data()));
    return text;
}

std::string field(const std::string& text, const char* name)
{
    json root(json_loads(text.c_str(), JSON_REJECT_DUPLICATES, nullptr), json_decref);
    const char* value = json_string_value(json_object_get(json_object_get(root.get(), "error"), name));
    return value ? value : "(null)";
}

} // namespace

TEST(refusal, every_body_is_json_in_openais_shape)
{
    for (int i = 1; i <= static_cast<int>(refusal::internal); i++) {
        std::string text = body(static_cast<refusal>(i), "x");
        json root(json_loads(text.c_str(), JSON_REJECT_DUPLICATES, nullptr), json_decref);
        ASSERT_TRUE(root) << text;
        json_t* error = json_object_get(root.get(), "error");
        for (const char* name : {"message", "type", "param", "code"}) {
            EXPECT_TRUE(json_object_get(error, name)) << text;
        }
        EXPECT_GE(answer_of(static_cast<refusal>(i)).status, 400);
        EXPECT_FALSE(answer_of(static_cast<refusal>(i)).reason.empty());
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
    EXPECT_EQ(field(body(refusal::model, worst), "code"), "model_not_found");
    EXPECT_EQ(field(body(refusal::model, "a\"b\\c\n"), "message"),
              "The model `a\"b\\c\n` does not exist or you do not have access to it.");
    // Not UTF-8: a JSON reader must still take the body.
    EXPECT_EQ(field(body(refusal::model, "a\xff\xc3(\xe4\xbd\xa0"), "message"),
              "The model `a?"
              "?(\xe4\xbd\xa0` does not exist or you do not have access to it.");
}
