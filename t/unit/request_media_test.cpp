#include "core/request/request_facts.h"

#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

const std::string base64 = repeated(40, "iVBORw0K+/");

// "count/bytes" of what is no text in the body.
std::string media(std::string_view body)
{
    std::string first;
    bool is_first = true;
    every_way(body, [&](const auto& pieces) {
        request_facts facts;
        for (const std::string_view piece : pieces)
            pieces.size() == 1 ? facts.feed_whole(piece) : facts.feed(piece);
        ASSERT_EQ(facts.finish(), body_fault::none) << body;
        const std::string told =
            std::to_string(facts.media().count()) + "/" + std::to_string(facts.media().bytes());
        if (is_first)
            first = told;
        is_first = false;
        ASSERT_EQ(told, first) << "first piece " << pieces[0];
    });
    return first;
}

// The part of a message's content in each place where there may be one.
std::vector<std::string> with_part(const std::string& part)
{
    return {
        R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},)" + part + "]}]}",
        R"({"messages":[{"content":"x"},{"content":[{"type":"tool_result","content":[)" + part + "]}]}]}",
        R"({"input":[{"role":"user","content":[)" + part + "]}]}",
        R"({"input":[{"type":"function_call_output","output":[)" + part + "]}]}",
    };
}

void expect_media(const std::string& part, const std::string& value)
{
    for (const std::string& body : with_part(part))
        EXPECT_EQ(media(body), "1/" + std::to_string(value.size() + 2)) << body.substr(0, 150);
}

void expect_text(const std::string& body)
{
    EXPECT_EQ(media(body), "0/0") << body.substr(0, 200);
}

TEST(request_media, is_an_image_audio_or_a_file)
{
    const std::string url = "data:image/png;base64," + base64;
    expect_media(R"({"type":"image_url","image_url":{"detail":"low","url":")" + url + "\"}}", url);
    expect_media(R"({"type":"input_image","image_url":")" + url + "\"}", url);
    expect_media(R"({"video_url":{"url":"data:video/mp4;base64,)" + base64 + "\"}}",
                 "data:video/mp4;base64," + base64);
    expect_media(R"({"audio_url":{"url":"data:audio/ogg;base64,)" + base64 + "\"}}",
                 "data:audio/ogg;base64," + base64);
    expect_media(R"({"input_audio":{"format":"wav","data":")" + base64 + "\"}}", base64);
    const std::string pdf = "data:application/pdf;base64," + base64;
    expect_media(R"({"type":"file","file":{"filename":"a.pdf","file_data":")" + pdf + "\"}}", pdf);
    expect_media(R"({"type":"input_file","file_data":")" + pdf + "\"}", pdf);
    expect_media(R"({"type":"input_file","file_data":"JVBERi0x)" + base64 + "\"}", "JVBERi0x" + base64);
    const std::string word =
        "data:application/vnd.openxmlformats-officedocument.wordprocessingml.document;base64," + base64;
    expect_media(R"({"type":"input_file","file_data":")" + word + "\"}", word);
    const std::string source = "\"type\":\"base64\",\"media_type\":\"image/jpeg\"";
    expect_media(R"({"type":"image","source":{)" + source + ",\"data\":\"" + base64 + "\"}}", base64);
    expect_media(R"({"type":"image","source":{"data":")" + base64 + "\"," + source + "}}", base64);
    EXPECT_EQ(media(R"({"contents":[{"parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":")"
                    + base64 + R"("}},{"inline_data":{"data":")" + base64
                    + R"(","mime_type":"audio/mp3"}}]}]})"),
              "2/" + std::to_string(2 * (base64.size() + 2)));
    EXPECT_EQ(media(R"({"prompt":"a","images":[")" + base64 + "\",\"" + base64 + R"("]})"),
              "2/" + std::to_string(2 * (base64.size() + 2)));
    EXPECT_EQ(media(R"({"messages":[{"content":"a","images":[")" + base64 + R"("]}]})"),
              "1/" + std::to_string(base64.size() + 2));
    EXPECT_EQ(media(R"({"text":"a","image_data":")" + base64 + R"("})"),
              "1/" + std::to_string(base64.size() + 2));
    EXPECT_EQ(media(R"({"image_data":[{"id":1,"data":")" + base64 + R"("}]})"),
              "1/" + std::to_string(base64.size() + 2));
    EXPECT_EQ(media(R"({"prompt":{"prompt_string":"a","multimodal_data":[")" + base64 + R"("]}})"),
              "1/" + std::to_string(base64.size() + 2));
    EXPECT_EQ(media(R"({"input":[{"type":"computer_call_output","output":{"image_url":")" + url + R"("}}]})"),
              "1/" + std::to_string(url.size() + 2));
    // Escapes that some writers make of a slash.
    const std::string escaped = "data:image\\/png;base64,iVBORw0K\\/\\/" + repeated(40, "QUFB\\/");
    expect_media(R"({"image_url":{"url":")" + escaped + "\"}}", escaped);
}

// What a server may read as text stays text, whatever it looks like.
TEST(request_media, is_nothing_that_may_be_text)
{
    const std::string url = "data:image/png;base64," + base64;
    const std::string image = R"({"type":"image_url","image_url":{"url":")" + url + "\"}}";
    expect_text(R"({"prompt":")" + url + "\"}");
    expect_text(R"({"model":"m","input":")" + url + "\"}");
    expect_text(R"({"input":[")" + url + "\"]}");
    expect_text(R"({"messages":[{"content":")" + url + "\"}]}");
    expect_text(R"({"messages":[{"content":[{"type":"text","text":")" + url + "\"}]}]}");
    expect_text(R"({"messages":[{"tool_calls":[{"function":{"arguments":)" + image + "}}]}]}");
    expect_text(R"({"messages":[{"content":[{"type":"tool_use","input":)" + image + "}]}]}");
    expect_text(R"({"tools":[{"function":{"parameters":{"content":[)" + image + "]}}}]}");
    expect_text(R"({"tools":[)" + image + "]}");
    expect_text(R"({"documents":[)" + image + R"(],"metadata":)" + image + ",\"image_url\":{\"url\":\"" + url
                + "\"}}");
    expect_text(
        R"({"contents":[{"parts":[{"functionResponse":{"response":{"inlineData":{"mimeType":"image/png","data":")"
        + base64 + "\"}}}}]}]}");
    const std::string text = repeated(30, "all that I ask is ");
    for (const std::string& part : {
             "{\"image_url\":{\"url\":\"https://example.com/" + base64 + "\"}}",
             "{\"image_url\":{\"url\":\"" + base64 + "\"}}",
             "{\"image_url\":{\"url\":\"data:text/plain;base64," + base64 + "\"}}",
             "{\"image_url\":{\"url\":\"data:image/png," + base64 + "\"}}",
             "{\"image_url\":{\"url\":\"data:;base64," + base64 + "\"}}",
             "{\"image_url\":{\"url\":[\"" + url + "\"]}}",
             "{\"file\":{\"file_data\":\"data:text/markdown;base64," + base64 + "\"}}",
             "{\"file\":{\"file_data\":\"data:application/json;base64," + base64 + "\"}}",
             "{\"file\":{\"file_data\":\"VGhpcyBpcyB0ZXh0" + base64 + "\"}}",
             "{\"input_audio\":{\"data\":\"" + text + "\"}}",
             "{\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"" + base64 + "\"}}",
             "{\"source\":{\"data\":\"" + base64 + "\",\"type\":\"text\",\"media_type\":\"image/png\"}}",
             "{\"source\":{\"type\":\"base64\",\"media_type\":\"text/plain\",\"data\":\"" + base64 + "\"}}",
             "{\"source\":{\"type\":\"base64\",\"data\":\"" + base64 + "\"}}",
             "{\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"" + text + "\"}}",
             "{\"source\":{\"type\":\"text\",\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\""
                 + base64 + "\"}}",
             "{\"source\":{\"type\":\"base64\",\"media_type\":\"text/plain\",\"media_type\":\"image/"
             "png\",\"data\":\""
                 + base64 + "\"}}",
             "{\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"some "
             "text\",\"data\":\""
                 + base64 + "\"}}",
         })
        for (const std::string& body : with_part(part))
            expect_text(body);
    expect_text(R"({"images":[")" + text + R"("],"image_data":"a b"})");
    expect_text(R"({"messages":[{"images":[{"data":")" + base64 + R"("}],"content":"a"}]})");
    expect_text(R"({"contents":[{"parts":[{"inlineData":{"mimeType":"text/plain","data":")" + base64
                + R"("}}]}]})");
}

} // namespace
