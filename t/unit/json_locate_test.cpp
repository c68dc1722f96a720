#include "keys/json_locate.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace llm {
namespace {

json_step field(std::string_view name)
{
    return {name};
}

json_step element(size_t index)
{
    return {{}, index, true};
}

// The rest of the text from what was found; "-" if nothing was.
std::string found(std::string_view text, const std::vector<json_step>& path,
                  json_part part = json_part::value)
{
    const auto offset = json_locate(text, 0, path, part);
    return offset ? std::string(text.substr(*offset)) : "-";
}

TEST(json_locate, values_and_names)
{
    const std::string_view text = R"( {"a": [1, "x,]}\"", {"b" : -1.5e3}], "c":null , "d" : {}, "e":[]} )";
    EXPECT_EQ(found(text, {}), text.substr(1));
    EXPECT_EQ(found(text, {field("a"), element(0)}).substr(0, 2), "1,");
    EXPECT_EQ(found(text, {field("a"), element(1)}).substr(0, 3), "\"x,");
    EXPECT_EQ(found(text, {field("a"), element(2), field("b")}).substr(0, 7), "-1.5e3}");
    EXPECT_EQ(found(text, {field("a"), element(2), field("b")}, json_part::name).substr(0, 4), "\"b\" ");
    EXPECT_EQ(found(text, {field("c")}).substr(0, 4), "null");
    EXPECT_EQ(found(text, {field("d")}).substr(0, 3), "{},");
    EXPECT_EQ(found(text, {field("e")}), "[]} ");
    for (const auto& path : std::vector<std::vector<json_step>>{{field("x")},
                                                                {field("a"), element(3)},
                                                                {field("a"), field("b")},
                                                                {field("d"), field("b")},
                                                                {field("e"), element(0)},
                                                                {field("c"), element(0)},
                                                                {element(0)}}) {
        EXPECT_EQ(found(text, path), "-");
    }
    // An element has no name.
    EXPECT_EQ(found(text, {field("a"), element(0)}, json_part::name), "-");
}

TEST(json_locate, escaped_names)
{
    const std::string_view text =
        R"({"\u0061\t\"\/": 1, "\ud83d\ude00": 2, "ä": 3, "\u00e4\u20AC": 4, "\\": 5})";
    EXPECT_EQ(found(text, {field("a\t\"/")}).substr(0, 1), "1");
    EXPECT_EQ(found(text, {field("\xf0\x9f\x98\x80")}).substr(0, 1), "2");
    EXPECT_EQ(found(text, {field("\xc3\xa4")}).substr(0, 1), "3");
    EXPECT_EQ(found(text, {field("\xc3\xa4\xe2\x82\xac")}).substr(0, 1), "4");
    EXPECT_EQ(found(text, {field("\\")}).substr(0, 1), "5");
}

TEST(json_locate, from_an_offset)
{
    const std::string_view text = R"({"a": {"b": 1}, "c": {"b": 2}})";
    const std::vector<json_step> path{field("b")};
    EXPECT_EQ(json_locate(text, text.find("{\"b\": 2"), path), text.rfind('2'));
    EXPECT_EQ(json_locate(text, 1000, path), std::nullopt);
}

TEST(json_locate, any_prefix_is_safe)
{
    const std::string text =
        R"({"a\u00e4\ud83d\ude00\n": [true, {"x": [[], {}, "]\\"]}], "b": {"c": [0, 1]}})";
    const std::vector<json_step> path{field("b"), field("c"), element(1)};
    for (size_t size = 0; size <= text.size(); size++) {
        const std::string cut = text.substr(0, size);
        const auto offset = json_locate(cut, 0, path);
        if (offset) {
            EXPECT_EQ(cut[*offset], '1');
        }
        // Closing brackets out of place must end the walk too.
        const std::string odd = cut + "]}]}";
        const auto other = json_locate(odd, 0, path);
        EXPECT_TRUE(!other || *other < odd.size());
    }
}

TEST(json_locate, deep_text_takes_no_stack)
{
    const std::string text =
        R"({"a":)" + std::string(5000000, '[') + std::string(5000000, ']') + R"(,"b":7})";
    EXPECT_EQ(found(text, {field("b")}), "7}");
}

TEST(json_locate, places)
{
    const std::string_view text = "ab\n\ncd\r\n\xc3\xa4x";
    const auto at = [text](size_t offset) {
        const text_position place = place_of(text, offset);
        return std::pair(place.line, place.column);
    };
    EXPECT_EQ(at(0), std::pair(1u, 1u));
    EXPECT_EQ(at(1), std::pair(1u, 2u));
    EXPECT_EQ(at(2), std::pair(1u, 3u));
    EXPECT_EQ(at(3), std::pair(2u, 1u));
    EXPECT_EQ(at(4), std::pair(3u, 1u));
    EXPECT_EQ(at(8), std::pair(4u, 1u));
    EXPECT_EQ(at(10), std::pair(4u, 3u));
    EXPECT_EQ(at(11), std::pair(4u, 4u));
    EXPECT_EQ(at(99), std::pair(4u, 4u));
    EXPECT_EQ(place_of("", 0).line, 1u);
    EXPECT_EQ(place_of("", 0).column, 1u);
}

} // namespace
} // namespace llm
