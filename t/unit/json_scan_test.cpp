#include "core/json/json_count.h"
#include "core/json/json_scan.h"

#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

constexpr auto paths = json_paths<9>({{
    {""},
    {"a", 0, json_text::bounded},
    {"b", 0},
    {"model", 0, json_text::pieces, true},
    {"leaf", 0},
    {json_elements, 2, json_text::bounded},
    {"in", 2, json_text::bounded},
    {json_elements, 1},
    {"x", 7, json_text::bounded},
}});

const char* const type_names[] = {"null", "false", "true", "number", "string", "object", "array"};

struct log_line {
    json_event event;
    std::string text;
};

struct scan {
    std::vector<log_line> events;
    json_scanner scanner;
    size_t taken = 0;

    static void take(void* self, const json_event& event)
    {
        static_cast<scan*>(self)->events.push_back({event, std::string(event.text)});
    }

    json_scanner::status run(const std::vector<std::string_view>& pieces)
    {
        for (const std::string_view piece : pieces)
            taken += scanner.feed(piece, paths.data(), {take, this});
        return scanner.finish(paths.data(), {take, this});
    }

    // "path:type:text" of each scalar, "path{" and "path}" of each container.
    std::string told() const
    {
        std::string all;
        for (const log_line& line : events) {
            const std::string path = std::to_string(line.event.path);
            if (line.event.is == json_event::what::open)
                all += path + "{ ";
            else if (line.event.is == json_event::what::close)
                all += path + "}" + std::to_string(line.event.index) + " ";
            else
                all += path + (line.event.is == json_event::what::text ? "+" : ":")
                       + type_names[int(line.event.type)] + ":" + line.text
                       + (line.event.truncated ? "... " : " ");
        }
        return all;
    }
};

void expect_told(std::string_view text, const std::string& told)
{
    every_way(text, [&](const auto& pieces) {
        scan s;
        ASSERT_EQ(s.run(pieces), json_scanner::status::complete) << text << " first piece " << pieces[0];
        ASSERT_EQ(s.told(), told) << text << " first piece " << pieces[0];
        ASSERT_EQ(s.scanner.error(), json_error::none);
    });
}

void expect_error(std::string_view text, uint64_t offset, json_error error = json_error::syntax)
{
    every_way(text, [&](const auto& pieces) {
        scan s;
        ASSERT_EQ(s.run(pieces), json_scanner::status::failed) << text;
        ASSERT_EQ(s.scanner.error(), error) << text;
        ASSERT_EQ(s.scanner.offset(), offset) << text;
        ASSERT_EQ(s.taken, offset) << text;
    });
}

void expect_more(std::string_view text)
{
    every_way(text, [&](const auto& pieces) {
        scan s;
        ASSERT_EQ(s.run(pieces), json_scanner::status::more) << text;
    });
}

TEST(json_scan, tells_values_at_its_paths)
{
    expect_told(R"({"a":"x","other":1,"b":{"in":2.5,"on":3}})", "0{ 1:string:x 2{ 6:number:2.5 2}2 0}3 ");
    expect_told(" {\r\n\t\"a\" : null ,\n\"b\" : [ true , \"s\" , [ ] ] } \n",
                "0{ 1:null: 2{ 5:true: 5:string:s 5{ 5}0 2}3 0}2 ");
    expect_told(R"({"a":[{"x":1},{"y":2,"x":false},3]})",
                "0{ 1{ 7{ 8:number:1 7}1 7{ 8:false: 7}2 7:number: 1}3 0}1 ");
    expect_told("{}", "0{ 0}0 ");
    expect_told("[]", "0{ 0}0 ");
    expect_told("\"x\"", "0:string: ");
    expect_told("12", "0:number: ");
    expect_told("true ", "0:true: ");
}

TEST(json_scan, compares_names_unescaped)
{
    expect_told(R"({"\u0061":1,"b":{"i\u006e":2},"\u006Dode\u006C":"m"})",
                "0{ 1:number:1 2{ 6:number:2 2}1 3:string:m 0}3 ");
    expect_told(R"({"a\u0000":1,"":2,"aa":3,"A":4,"[]":5})", "0{ 0}5 ");
    expect_told(R"({"b":{"[]":1,"in":2}})", "0{ 2{ 6:number:2 2}2 0}1 ");
    expect_told("{\"" + repeated(20, "model") + "\":1}", "0{ 0}1 ");
}

TEST(json_scan, tells_names_in_another_case)
{
    scan s;
    s.run({R"({"MoDel":1,"model":2,"\u004dodel":3,"moDels":4})"});
    ASSERT_EQ(s.told(), "0{ 3:number:1 3:number:2 3:number:3 0}4 ");
    EXPECT_TRUE(s.events[1].event.folded);
    EXPECT_FALSE(s.events[2].event.folded);
    EXPECT_TRUE(s.events[3].event.folded);
}

TEST(json_scan, unescapes_text)
{
    expect_told(R"({"a":"\"\\\/\b\f\n\r\t"})", "0{ 1:string:\"\\/\b\f\n\r\t 0}1 ");
    expect_told(R"({"a":"\u0041\u00e9\u4f60\uD83D\uDE00"})", "0{ 1:string:Aé你😀 0}1 ");
    expect_told("{\"a\":\"你😀\"}", "0{ 1:string:你😀 0}1 ");
    const std::string lost = "\xef\xbf\xbd";
    expect_told(R"({"a":"\ud83dx\ude00\ud83d\ud83d\ude00\ud83d\n\ud83d"})",
                "0{ 1:string:" + lost + "x" + lost + lost + "😀" + lost + "\n" + lost + " 0}1 ");
}

TEST(json_scan, bounds_text_or_gives_it_in_pieces)
{
    const std::string fits(64, 'x');
    expect_told("{\"a\":\"" + fits + "\"}", "0{ 1:string:" + fits + " 0}1 ");
    expect_told("{\"a\":\"" + fits + "y\"}", "0{ 1:string:" + fits + "... 0}1 ");
    expect_told("{\"a\":1" + std::string(70, '0') + "}", "0{ 1:number:1" + std::string(63, '0') + "... 0}1 ");
    expect_told("{\"model\":\"" + fits + "\"}", "0{ 3:string:" + fits + " 0}1 ");
    expect_told("{\"model\":\"" + fits + fits + "y\"}",
                "0{ 3+string:" + fits + " 3+string:" + fits + " 3:string:y 0}1 ");
    expect_told("{\"model\":1" + std::string(64, '0') + "}",
                "0{ 3+number:1" + std::string(63, '0') + " 3:number:0 0}1 ");
}

TEST(json_scan, reads_numbers_and_literals)
{
    for (const std::string n : {"0", "-0", "10", "-1", "1.5", "0.0", "1e5", "1E+5", "1e-05", "-1.25e10",
                                "10.25", "0.7e1", "NaN", "Infinity", "-Infinity"})
        for (const char* space : {"", " "})
            expect_told("{\"a\":" + n + space + "}", "0{ 1:number:" + n + " 0}1 ");
    expect_error("{\"a\":01}", 6);
    expect_error("{\"a\":-}", 6);
    expect_error("{\"a\":1.}", 7);
    expect_error("{\"a\":1.e5}", 7);
    expect_error("{\"a\":1e}", 7);
    expect_error("{\"a\":1e+}", 8);
    expect_error("{\"a\":.5}", 5);
    expect_error("{\"a\":1.5.5}", 8);
    expect_error("{\"a\":1.5x}", 8);
    expect_error("{\"a\":00.5}", 6);
    expect_error("{\"z\":1.}", 7);
    expect_error("{\"z\":1.5.5}", 8);
    expect_error("{\"z\":00.5}", 6);
    expect_error("{\"a\":+5}", 5);
    expect_error("{\"a\":1 2}", 7);
    expect_error("{\"a\":1x}", 6);
    expect_error("{\"a\":-x}", 6);
    expect_error("{\"a\":nul}", 8);
    expect_error("{\"a\":nulll}", 9);
    expect_error("{\"a\":True}", 5);
    expect_error("{\"a\":-Infinite}", 13);
}

TEST(json_scan, is_strict_where_paths_lead)
{
    expect_error("{,}", 1);
    expect_error("{\"a\":1,}", 7);
    expect_error("{\"a\" 1}", 5);
    expect_error("{\"a\":}", 5);
    expect_error("{\"a\":1 \"b\":2}", 7);
    expect_error("{\"b\":[1,]}", 8);
    expect_error("{\"b\":[,1]}", 6);
    expect_error("{\"b\":[1}", 7);
    expect_error("{\"a\":1]", 6);
    expect_error("{a:1}", 1);
    expect_error("{'a':1}", 1);
    expect_error("]", 0);
    expect_error("\xef\xbb\xbf{}", 0);
    expect_error(std::string_view("{\0\"a\":1}", 8), 1);
}

TEST(json_scan, checks_strings_everywhere)
{
    expect_error("{\"o\":\"\\x\"}", 7);
    expect_error("{\"o\":[\"\\u12g4\"]}", 11);
    expect_error("{\"\\u12\":1}", 6);
    // Control characters are borne: replies have them.
    expect_told("{\"o\":\"a\nb\",\"k\ney\":[{\"q\":\"a\nb\"}],\"a\":\"\x1f\t\"}", "0{ 1:string:\x1f\t 0}3 ");
}

TEST(json_scan, skips_what_no_path_leads_into)
{
    expect_told(R"({"o":{"a":1,"b":["}",{"model":"\"]"}]},"leaf":[1,{"x":[]}],"a":1})",
                "0{ 4{ 4}0 1:number:1 0}3 ");
    expect_error("{\"o\":[1,{2]}", 10);
    expect_error("{\"leaf\":{\"q\":[}}", 14);
    expect_error(std::string_view("{\"o\":[1,\0]}", 11), 8);
}

// What is skipped is read in blocks: each thing has to be found at each place in them.
TEST(json_scan, skips_alike_at_any_place)
{
    const std::string after = repeated(20, ", 1");
    for (size_t shift = 0; shift < 70; ++shift) {
        const std::string gap(shift, ' ');
        const std::string text(shift, 'x');
        for (const std::string& skipped :
             {gap + R"([{"}]":"{["},[[]],{"":{}}])" + after, "\"" + text + R"(]}","a")" + after,
              "\"" + text + R"(\"]}\\","]")" + after, R"("\\","\"",")" + text + R"(\u0022}","\\\"]")" + after,
              gap + "\r\n\t[" + gap + "]" + after, repeated(shift, "1.5,") + "[[" + text + "]]" + after})
            expect_told("{\"o\":[" + skipped + "],\"a\":7}", "0{ 1:number:7 0}2 ");
        const auto error_after = [&](const std::string& good, const std::string& bad) {
            expect_error("{\"o\":[" + good + bad + after + "]}", 6 + good.size());
        };
        error_after(gap, "}");
        error_after(gap + "{\"q\":[[]", "}");
        error_after(gap, std::string(1, '\0'));
        expect_told("{\"o\":[\"" + text + "\n\"" + after + "],\"a\":7}", "0{ 1:number:7 0}2 ");
        error_after("\"" + text + "\\", "x\"");
    }
}

TEST(json_scan, tells_where_things_stand)
{
    const std::string_view text = R"( { "o" : 1 , "a" : "x" ,"b":[ 5, {} ],"leaf" : [ 1 ] } )";
    every_way(text, [&](const auto& pieces) {
        scan s;
        ASSERT_EQ(s.run(pieces), json_scanner::status::complete);
        ASSERT_EQ(s.told(), "0{ 1:string:x 2{ 5:number:5 5{ 5}0 2}2 4{ 4}0 0}4 ");
        const auto range = [&](uint64_t begin, uint64_t end) { return text.substr(begin, end - begin); };
        const json_event& a = s.events[1].event;
        EXPECT_EQ(range(a.key_begin, a.value_end), "\"a\" : \"x\"");
        EXPECT_EQ(range(a.value_begin, a.value_end), "\"x\"");
        EXPECT_EQ(range(a.comma, a.value_end), ", \"a\" : \"x\"");
        EXPECT_EQ(a.index, 1u);
        const json_event& five = s.events[3].event;
        EXPECT_EQ(range(five.key_begin, five.value_end), "5");
        EXPECT_EQ(five.index, 0u);
        const json_event& object = s.events[4].event;
        EXPECT_EQ(object.index, 1u);
        EXPECT_EQ(range(object.value_begin, s.events[5].event.value_end), "{}");
        EXPECT_EQ(range(s.events[2].event.key_begin, s.events[6].event.value_end), "\"b\":[ 5, {} ]");
        EXPECT_EQ(range(s.events[7].event.comma, s.events[8].event.value_end), ",\"leaf\" : [ 1 ]");
        EXPECT_EQ(range(s.events[0].event.value_begin, s.events[9].event.value_end),
                  text.substr(1, text.size() - 2));
    });
}

TEST(json_scan, stops_at_what_follows)
{
    scan s;
    const std::string_view two = "{\"a\":1} \r\n{\"a\":2}";
    EXPECT_EQ(s.scanner.feed(two, paths.data(), {scan::take, &s}), 10u);
    EXPECT_EQ(s.scanner.state(), json_scanner::status::complete);
    EXPECT_EQ(s.scanner.offset(), 10u);
    EXPECT_EQ(s.scanner.feed(two.substr(10), paths.data(), {scan::take, &s}), 0u);
    s.scanner.start(10);
    EXPECT_EQ(s.scanner.state(), json_scanner::status::more);
    EXPECT_EQ(s.scanner.feed(two.substr(10), paths.data(), {scan::take, &s}), 7u);
    EXPECT_EQ(s.told(), "0{ 1:number:1 0}1 0{ 1:number:2 0}1 ");
    EXPECT_EQ(s.events[4].event.value_begin, 15u);
}

TEST(json_scan, knows_that_more_is_needed)
{
    for (const char* text :
         {"", " ", "{", "{\"a", "{\"a\\", "{\"a\\u00", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":tru",
          "{\"a\":1,", "{\"b\":[", "{\"o\":[[]", "\"x", "-", "1.", "1e", "-Inf", "nul"})
        expect_more(text);
}

TEST(json_scan, bounds_depth)
{
    const auto nested = [](size_t depth) {
        return "{\"o\":" + repeated(depth - 1, "[") + repeated(depth - 1, "]") + "}";
    };
    expect_told(nested(json_scanner::max_depth), "0{ 0}1 ");
    expect_error(nested(json_scanner::max_depth + 1), 5 + json_scanner::max_depth - 1, json_error::too_deep);
    expect_error(repeated(100000, "{\"b\":"), 5 * json_scanner::max_depth, json_error::too_deep);
}

TEST(json_scan, keeps_offsets_over_large_texts)
{
    const std::string body =
        "{\"o\":[" + repeated(200000, "-0.0123456,") + "\"" + repeated(100000, "base64/+") + "\"],\"a\":5}";
    every_way(body, [&](const auto& pieces) {
        scan s;
        ASSERT_EQ(s.run(pieces), json_scanner::status::complete);
        ASSERT_EQ(s.told(), "0{ 1:number:5 0}2 ");
        ASSERT_EQ(s.events[1].event.value_end, body.size() - 1);
    });
}

TEST(json_scan, counts)
{
    const auto count = [](std::string_view text, uint64_t limit = 1000000) {
        uint64_t n = 77;
        return json_count(text, limit, n) ? std::to_string(n) : "no";
    };
    EXPECT_EQ(count("0"), "0");
    EXPECT_EQ(count("-0"), "0");
    EXPECT_EQ(count("0.000e-5"), "0");
    EXPECT_EQ(count("5"), "5");
    EXPECT_EQ(count("5.0"), "5");
    EXPECT_EQ(count("105.00"), "105");
    EXPECT_EQ(count("1e2"), "100");
    EXPECT_EQ(count("1.25E+2"), "125");
    EXPECT_EQ(count("100e-2"), "1");
    EXPECT_EQ(count("0.5e1"), "5");
    EXPECT_EQ(count("12345678901234567890123"), "1000000");
    EXPECT_EQ(count("1e400"), "1000000");
    EXPECT_EQ(count("1e99999999999999999999"), "1000000");
    EXPECT_EQ(count("18446744073709551615", UINT64_MAX), "18446744073709551615");
    EXPECT_EQ(count("18446744073709551616", UINT64_MAX), "18446744073709551615");
    EXPECT_EQ(count("28446744073709551616", UINT64_MAX), "18446744073709551615");
    for (const char* text :
         {"", "-", "-1", "5.5", "1.25e1", "1e-1", "NaN", "Infinity", "x", "1x", "1e", "1e+", "1_0", "1.2.3"})
        EXPECT_EQ(count(text), "no") << text;
}

} // namespace
