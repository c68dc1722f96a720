// A strict scan knows the whole grammar at every depth, whether a path leads there or not.
#include "core/json/json_scan.h"

#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

constexpr auto paths = json_paths<6>({{
    {""},
    {"model", 0, json_text::bounded, true},
    {"stream_task", 0, json_text::bounded, true},
    {"max", 0, json_text::bounded},
    {"in", 0},
    {"x", 4, json_text::bounded},
}});

struct scan {
    json_scanner scanner;
    std::string told; // "path:text", with "~" where it is folded

    static void take(void* self, const json_event& event)
    {
        if (event.is != json_event::what::open && event.is != json_event::what::close)
            static_cast<scan*>(self)->told +=
                std::to_string(event.path) + (event.folded ? "~" : ":") + std::string(event.text) + " ";
    }

    json_scanner::status run(const std::vector<std::string_view>& pieces)
    {
        scanner.be_strict();
        for (const std::string_view piece : pieces) {
            // Memory of its own, so that a read beyond it is found.
            const std::vector<char> own(piece.begin(), piece.end());
            if (scanner.feed({own.data(), own.size()}, paths.data(), {take, this}) != own.size())
                break;
        }
        return scanner.finish(paths.data(), {take, this});
    }
};

void expect_good(const std::string& text, const std::string& told = "")
{
    every_way(text, [&](const auto& pieces) {
        scan s;
        ASSERT_EQ(s.run(pieces), json_scanner::status::complete)
            << text << " first piece " << pieces[0] << " at " << s.scanner.offset();
        ASSERT_EQ(s.told, told) << text << " first piece " << pieces[0];
    });
}

void expect_error(const std::string& text, uint64_t offset, json_error error = json_error::syntax)
{
    every_way(text, [&](const auto& pieces) {
        scan s;
        ASSERT_EQ(s.run(pieces), json_scanner::status::failed) << text << " first piece " << pieces[0];
        ASSERT_EQ(s.scanner.offset(), offset) << text << " first piece " << pieces[0];
        ASSERT_EQ(s.scanner.error(), error);
    });
}

// What may stand around a value: the value begins at the offset of '@'.
const char* const places[] = {
    "@",
    "[@]",
    "{\"model\":\"m\",\"a\":[1,@]}",
    "{\"a\":{\"b\":@},\"max\":1}",
    "{\"a\":[[{\"q\":[@ , 2]}]]}",
    "{\"in\":{\"y\":[@]}}",
    "{\"in\":{\"x\":1,\"z\":{\"q\":@}}}",
};

// The text with a value at a place, and where it is.
std::pair<std::string, size_t> at_place(std::string place, const std::string& value)
{
    const size_t at = place.find('@');
    return {place.replace(at, 1, value), at};
}

TEST(json_strict, takes_what_is_json)
{
    const std::string values[] = {
        "{}",
        "[]",
        "{ }",
        "[ \r\n\t ]",
        "[[],[[]],{}]",
        "{\"\":{\"\":[]}}",
        "[{},{}]",
        "\"\"",
        "\"a\"",
        "0",
        "-0",
        "12.5e+3",
        "1E5",
        "-1.25e-10",
        "0.0",
        "true",
        "false",
        "null",
        "NaN",
        "Infinity",
        "-Infinity",
        "[1,-1,2.5,0,1e3]",
        "[1 , 2\n,\t3]",
        "[true,false,null,\"x\",{},[]]",
        R"({"a":1,"b":-2,"c":"d","e":null,"f":[true]})",
        R"({ "a" : 1 , "b" : [ 2 ] , "c" : { } })",
        R"({"a":1,"a":2})",
        R"("\u00e4\ud83d\ude00\"\\\/\b\f\n\r\t")",
        R"("\ud800")",
        R"(["]","}","[{",",",":"])",
        R"({"]":"}","{[":1})",
        "\"" + std::string(200, 'x') + "\"",
        "{\"" + std::string(200, 'x') + "\":\"" + repeated(30, "\\n ab") + "\"}",
        "[" + repeated(100, "1234,") + "5]",
        repeated(50, "[") + repeated(50, "]"),
    };
    for (const std::string& value : values)
        for (const char* place : places) {
            const std::string text = at_place(place, value).first;
            every_way(text, [&](const auto& pieces) {
                scan s;
                ASSERT_EQ(s.run(pieces), json_scanner::status::complete)
                    << text << " first piece " << pieces[0] << " at " << s.scanner.offset();
            });
        }
}

TEST(json_strict, finds_what_is_not_wherever_it_is)
{
    const struct {
        std::string value;
        size_t at; // of the error in it
    } values[] = {
        {"[1/*\"*/]", 2},
        {"[1//\n]", 2},
        {"[/**/1]", 1},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1,,2]", 3},
        {"[1 2]", 3},
        {"[\"a\" \"b\"]", 5},
        {"[1}", 2},
        {"[:]", 1},
        {"[1:2]", 2},
        {"{,}", 1},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{\"a\" 1}", 5},
        {"{\"a\":1 \"b\":2}", 7},
        {"{\"a\"::1}", 5},
        {"{a:1}", 1},
        {"{'a':1}", 1},
        {"['a']", 1},
        {"{1:2}", 1},
        {"{\"a\":1]", 6},
        {"{\"a\":1;}", 6},
        {"{null:1}", 1},
        {"{[]:1}", 1},
        {"[01]", 2},
        {"[-]", 2},
        {"[+1]", 1},
        {"[.5]", 1},
        {"[1.]", 3},
        {"[1.e5]", 3},
        {"[1e]", 3},
        {"[1e+]", 4},
        {"[-01]", 3},
        {"[0x10]", 2},
        {"[1_0]", 2},
        {"[1a]", 2},
        {"[--1]", 2},
        {"[1.5.5]", 4},
        {"[nul]", 4},
        {"[nulll]", 5},
        {"[True]", 1},
        {"[undefined]", 1},
        {"[truefalse]", 5},
        {"[nan]", 2},
        {"[-Infinit]", 9},
        {"[\"a\nb\"]", 3},
        {"[\"\\x\"]", 3},
        {"[\"\\u12g4\"]", 6},
        {"{\"\n\":1}", 2},
        {"{\"\\q\":1}", 3},
        {"[\"\x1f\"]", 2},
        {"[1\v,2]", 2},
        {"[1,\f2]", 3},
        {"[\xef\xbb\xbf"
         "1]",
         1},
        {"[1\xc2\xa0]", 2},
        {"[{\"a\":[}]", 7},
        {"[[1,2}]", 5},
        {"[=]", 1},
        {"[1,2,3 4]", 7},
        {"[1,-2,x]", 6},
        {std::string("[\0]", 3), 1},
        {std::string("[1\0]", 4), 2},
        {std::string("[\"\0\"]", 5), 2},
        {"[" + repeated(100, "1,") + "]", 201},
        {"[\"" + std::string(100, 'x') + "\n\"]", 102},
        {"{\"" + std::string(100, 'x') + "\\y\":1}", 103},
    };
    for (const auto& v : values)
        for (const char* place : places) {
            const auto [text, at] = at_place(place, v.value);
            expect_error(text, at + v.at);
        }
}

TEST(json_strict, takes_one_text)
{
    const auto taken = [](std::string_view text) {
        scan s;
        s.scanner.be_strict();
        return s.scanner.feed(text, paths.data(), {scan::take, &s});
    };
    EXPECT_EQ(taken("{\"a\":[1]} \r\n"), 12u);
    EXPECT_EQ(taken("{\"a\":[1]} {}"), 10u);
    EXPECT_EQ(taken("{\"a\":[1]},"), 9u);
    EXPECT_EQ(taken(std::string_view("{\"a\":[1]}\0", 10)), 9u);
    for (const char* part :
         {"[[1]", "{\"a\":[", "{\"a\":[1", "{\"a\":{\"b", "{\"a\":{\"b\"", "{\"a\":[tru", "{\"a\":[\"x\\"})
        every_way(std::string_view(part), [&](const auto& pieces) {
            scan s;
            ASSERT_EQ(s.run(pieces), json_scanner::status::more) << part;
        });
}

TEST(json_strict, bounds_depth)
{
    const auto nested = [](size_t depth, const std::string& open, const std::string& close) {
        return "{\"a\":" + repeated(depth - 1, open) + "1" + repeated(depth - 1, close) + "}";
    };
    expect_good(nested(json_scanner::max_depth, "[", "]"));
    expect_good(nested(json_scanner::max_depth, "{\"b\":", "}"));
    expect_error(nested(json_scanner::max_depth + 1, "[", "]"), 5 + json_scanner::max_depth - 1,
                 json_error::too_deep);
}

TEST(json_strict, tells_names_that_another_parser_may_take_for_a_path)
{
    expect_good(R"({"model":"a","\u006dodel":"b"})", "1:a 1:b ");
    // A parser of C strings ends them at a NUL.
    expect_good(R"({"model\u0000":"a"})", "1~a ");
    expect_good(R"({"model\u0000x":"a","MODEL\u0000":"b"})", "1~a 1~b ");
    expect_good("{\"model\\u0000" + std::string(100, 'x') + "\":\"a\"}", "1~a ");
    expect_good(R"({"max\u0000":1,"max":2})", "3~1 3:2 ");
    expect_good(R"({"in":{"x\u0000":1}})", "5~1 ");
    expect_good(R"({"\u0000model":"a","mod\u0000el":"b","y\u0000":1})");
    // Some drop half a pair of surrogates.
    expect_good(R"({"model\ud800":"a","\udc00model":"b","mo\ud83d\ud83ddel":"c"})", "1~a 1~b 1~c ");
    expect_good(R"({"model\ud83d\ude00":"a"})");
    // Go folds two letters that are not ASCII.
    expect_good("{\"\u017ftream_tas\u212a\":\"a\",\"\\u017fTREAM_ta\\u017fk\":\"b\"}", "2~a 2~b ");
    expect_good("{\"\u017ftream_tas\":\"a\",\"modé\":1,\"éééééééé\":2}");
    expect_good(R"({"model":"a\u0000\ud800b"})", std::string("1:a\0\xef\xbf\xbd", 7) + "b ");
}

} // namespace
