#include "core/request/form_facts.h"

#include "core/base/chars.h"

#include "pieces.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace llm;

namespace {

struct seen {
    form_facts::kind is;
    bool has_model;
    std::string model;
    bool unclear;
    uint64_t bytes;
    byte_range model_at = {};
    uint64_t disposition = 0;
    uint64_t prompt = 0;
    uint32_t files = 0;

    bool operator==(const seen&) const = default;
};

seen read_pieces(std::string_view boundary, const std::vector<std::string_view>& pieces)
{
    form_facts form(boundary);
    for (const std::string_view piece : pieces) {
        const size_t taken = form.feed(piece);
        if (form.is() == form_facts::kind::object) {
            EXPECT_EQ(piece[taken], '{');
            break;
        }
        EXPECT_EQ(taken, piece.size());
    }
    form.finish();
    return {form.is(),    form.has_model(), std::string(form.model()), form.unclear(),
            form.bytes(), form.model_at(),  form.model_disposition(),  form.prompt_bytes(),
            form.files()};
}

seen read(std::string_view body, std::string_view boundary = "b")
{
    const seen whole = read_pieces(boundary, {body});
    every_way(body, [&](const auto& pieces) {
        EXPECT_EQ(read_pieces(boundary, pieces), whole) << body.substr(0, 300);
    });
    return whole;
}

std::string part(std::string_view headers, std::string_view value, std::string_view boundary = "b")
{
    return std::string("--").append(boundary).append("\r\n").append(headers).append("\r\n\r\n").append(value)
           + "\r\n";
}

std::string field(std::string_view name, std::string_view value)
{
    return part(std::string("Content-Disposition: form-data; name=\"").append(name) + '"', value);
}

std::string file(std::string_view bytes)
{
    return part("Content-Disposition: form-data; name=\"file\"; filename=\"a; "
                "name=\u00e4.wav\"\r\nContent-Type: audio/wav",
                bytes);
}

const std::string end = "--b--\r\n";

void expect_model(std::string_view model, const std::string& body, std::string_view boundary = "b")
{
    const seen s = read(body, boundary);
    EXPECT_EQ(s.is, form_facts::kind::form) << body.substr(0, 300);
    EXPECT_TRUE(s.has_model) << body.substr(0, 300);
    EXPECT_EQ(s.model, model) << body.substr(0, 300);
    EXPECT_FALSE(s.unclear) << body.substr(0, 300);
    EXPECT_EQ(s.bytes, body.size());
    EXPECT_EQ(body.substr(s.model_at.begin, s.model_at.size()), model);
    const std::string before = body.substr(0, s.disposition);
    std::string line = before.substr(before.rfind('\n') + 1);
    std::transform(line.begin(), line.end(), line.begin(), ascii_lower);
    EXPECT_EQ(line, "content-disposition:");
    EXPECT_EQ(body.substr(s.disposition, s.model_at.begin - s.disposition).find("--b"), std::string::npos);
}

void expect_unclear(const std::string& body)
{
    const seen s = read(body);
    EXPECT_EQ(s.is, form_facts::kind::form) << body.substr(0, 300);
    EXPECT_TRUE(s.unclear) << body.substr(0, 300);
}

void expect_other(const std::string& body, std::string_view boundary = "b")
{
    EXPECT_EQ(read(body, boundary).is, form_facts::kind::other) << body.substr(0, 300);
}

} // namespace

TEST(form_facts, finds_the_model_wherever_it_is)
{
    const std::string decoy = R"({"model":"evil"})"
                              "\r\n-b\r\n--a\r\n\n\n--";
    expect_model("whisper-1", field("model", "whisper-1") + file(decoy) + end);
    expect_model("whisper-1", file(decoy) + field("language", "de") + field("model", "whisper-1") + end);
    expect_model("whisper-1", file("") + field("model", "whisper-1") + field("stream", "true") + end);
    expect_model("whisper-1", file(repeated(3000, "RIFF\r\n--\r\n-")) + field("model", "whisper-1") + end);
    expect_model("org/m:free@v1", field("model", "org/m:free@v1") + "--b--");
    expect_model(std::string(256, 'x'), field("model", std::string(256, 'x')) + end);
    expect_model("m", "\r\n" + field("model", "m") + end);
    expect_model("--bar", part("Content-Disposition: form-data; name=model", "--bar", "bx") + "--bx--\r\n",
                 "bx");
    expect_model("m", part("Content-Disposition: form-data; name=model", "m", "----a b") + "------a b--\r\n",
                 "----a b");
    expect_model("-", field("model", "-") + end);
}

TEST(form_facts, measures_what_the_model_is_given)
{
    const auto expect = [](uint64_t prompt, uint32_t files, const std::string& body) {
        const seen s = read(body);
        EXPECT_EQ(s.prompt, prompt) << body.substr(0, 300);
        EXPECT_EQ(s.files, files) << body.substr(0, 300);
    };
    const std::string model = field("model", "m");
    expect(0, 0, model + end);
    expect(0, 0, model + field("prompt", "") + end);
    expect(1, 0, model + field("prompt", "x") + end);
    expect(16, 2, field("prompt", "a cat\r\nwith --b\n") + file("PNG\r\n") + file("") + model + end);
    expect(9000, 1, model + file("RIFF") + field("prompt", repeated(3000, "ab\n")) + "--b--");
    expect(3, 0, field("Prompt", "abc") + field("prompts", "x") + field("my prompt", "x") + model + end);
    expect(5, 0, field("prompt", "ab") + field("prompt", "cde") + end);
    // A file that is called so is none.
    expect(0, 1, part("Content-Disposition: form-data; name=\"prompt\"; filename=x", "abc") + model + end);
    // What did not come to its end may all the same be taken by a server.
    expect(5, 0, model + "--b\r\nContent-Disposition: form-data; name=prompt\r\n\r\nab\r\n-");
    expect(0, 1, model + "--b\r\nContent-Disposition: form-data; name=x; filename=y\r\n\r\nab");
}

TEST(form_facts, reads_headers_as_clients_write_them)
{
    for (const char* headers : {
             "Content-Disposition: form-data; name=\"model\"",
             "Content-Disposition: form-data; name=model",
             "content-disposition:form-data;name=\"model\"",
             "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"model\"",
             "Content-Disposition: form-data; name=\"model\"\r\nContent-Length: "
             "1\r\nContent-Transfer-Encoding: binary",
             "CONTENT-DISPOSITION: Form-Data ; NAME=\"model\"; size=1 ",
         }) {
        expect_model("m", file("x") + part(headers, "m") + end);
    }
}

TEST(form_facts, has_no_model)
{
    for (const std::string& body :
         {file("x") + end, field("mode", "m") + field("models", "m") + field("x", "model") + end,
          file("Content-Disposition: form-data; name=\"model\"\r\n\r\nm") + end, end}) {
        const seen s = read(body);
        EXPECT_EQ(s.is, form_facts::kind::form);
        EXPECT_FALSE(s.has_model);
        EXPECT_FALSE(s.unclear) << body;
    }
}

TEST(form_facts, what_servers_may_read_differently_is_unclear)
{
    const std::string m = field("model", "m");
    expect_unclear(m + m + end);
    expect_unclear(m + field("model", "n") + end);
    expect_unclear(m + field("Model", "n") + end);
    expect_unclear(m); // no end
    expect_unclear(m.substr(0, m.size() - 2));
    expect_unclear(m + "--b");
    expect_unclear(m + "--b-");
    expect_unclear(m + end + "more");
    expect_unclear(m + end + field("model", "n") + end);
    expect_unclear(field("model", "") + end);
    expect_unclear(field("model", "a\nb") + end);
    expect_unclear(field("model", "a\r\nb") + end);
    expect_unclear(field("model", "a\rb") + end);
    expect_unclear(field("model", "a\r") + end);
    expect_unclear(field("model", "\r") + end);
    expect_unclear(field("model", "a\r\n-b") + end);
    expect_unclear(field("model", std::string("a\0b", 3)) + end);
    expect_unclear(field("model", std::string(257, 'x')) + end);
    // Another boundary that begins like this one, and lines that end otherwise.
    expect_unclear(file("x\r\n--bc\r\n") + m + end);
    expect_unclear(file("x\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n") + m + end);
    expect_unclear("--b\nContent-Disposition: form-data; name=\"model\"\n\nm\n--b--\n");
    for (const char* headers : {
             "Content-Disposition: form-data; name*=utf-8''model",
             "Content-Disposition: form-data; name=\"x\"; name*=utf-8''model",
             "Content-Disposition: form-data; name*0=\"mo\"; name*1=\"del\"",
             "Content-Disposition: form-data; name=\"x\"; name=\"model\"",
             "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\"",
             "Content-Disposition: form-data;\r\n name=\"model\"",
             "Content-Disposition: form-data; name=\"x",
             "Content-Disposition: form-data; name=\"x\"y",
             "Content-Disposition: form-data; name=x\"y\"",
             "Content-Disposition: form-data; name = \"model\"",
             "Content-Disposition: form-data; filename=\"a\\\"; name=\"model\"",
             "Content-Disposition: form-data; name",
             "Content-Disposition: form-data; name=",
             "Content-Disposition: form-data",
             "Content-Disposition: attachment; name=\"model\"",
             "Content-Disposition : form-data; name=\"model\"",
             "Content-Disposition form-data; name=\"model\"",
             "Content-Type: text/plain",
             "Content-Disposition: form-data; name=\"model\"; filename=\"x\"",
             "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64",
             "Content-Disposition: form-data; name=\"x\"\n\nContent-Disposition: form-data; name=\"model\"",
         }) {
        expect_unclear(part(headers, "m") + end);
    }
}

TEST(form_facts, begins_with_its_boundary)
{
    for (const std::string& body :
         {std::string("x"), std::string("--c\r\n"), std::string("--bc\r\n"), std::string("--b\rx"),
          "x\r\n" + end, "  " + end, std::string("-"), std::string("--"), std::string("--b"),
          std::string("--b-x"), std::string("model=m"), std::string("[]"), std::string("\0", 1) + end}) {
        expect_other(body);
    }
    expect_other(end, "");
    EXPECT_EQ(read("").is, form_facts::kind::unknown);
    EXPECT_EQ(read(" \r\n").is, form_facts::kind::unknown);
    for (const char* body : {"{", "{\"model\":1}", " \r\n {}"}) {
        const seen s = read(body);
        EXPECT_EQ(s.is, form_facts::kind::object);
        EXPECT_EQ(s.bytes, std::string_view(body).find('{'));
    }
}

TEST(form_facts, boundaries)
{
    const std::pair<const char*, const char*> types[] = {
        {"multipart/form-data; boundary=b", "b"},
        {"multipart/form-data;boundary=\"a b\"", "a b"},
        {"multipart/form-data; charset=utf-8; BOUNDARY=----WebKitFormBoundary7MA4YWxk ; x=y",
         "----WebKitFormBoundary7MA4YWxk"},
        {"multipart/form-data; x=\"; boundary=a\"; boundary=b", "b"},
        {"multipart/form-data; boundary=a'()+_,-./:=?", ""}, // a comma: two headers that became one
        {"multipart/form-data; boundary=a=b", "a=b"},
        {"multipart/form-data", ""},
        {"multipart/form-data; boundary", ""},
        {"multipart/form-data; boundary=", ""},
        {"multipart/form-data; boundary=\"\"", ""},
        {"multipart/form-data; boundary=\"a", ""},
        {"multipart/form-data; boundary=\"a\\b\"", ""},
        {"multipart/form-data; boundary=\"a \"", ""},
        {"multipart/form-data; boundary=a; boundary=b", ""},
        {"multipart/form-data; boundary=a; boundary*=b", ""},
        {"multipart/form-data; boundary*0=a; boundary*1=b", ""},
        {"multipart/form-data; boundary=a b", ""},
    };
    for (const auto& [type, boundary] : types) {
        EXPECT_EQ(form_boundary(type), boundary) << type;
    }
    EXPECT_EQ(form_boundary("multipart/form-data; boundary=" + std::string(200, 'x')).size(), 200u);
    EXPECT_EQ(form_boundary("multipart/form-data; boundary=" + std::string(201, 'x')), "");
}
