#include "body_edits.h"
#include "core/base/byte_edit.h"
#include "core/request/body_edit.h"

#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

using edit_list = byte_edits<6>;

// What comes out, however the text is cut; bytes that are put from elsewhere are those of the text.
std::string applied(std::string_view text, const edit_list& edits)
{
    std::string first;
    bool is_first = true;
    every_way(text, [&](const auto& pieces) {
        std::string out;
        const auto keep = [&](std::string_view bytes) { out += bytes; };
        const auto put = [&](const byte_edit& e) {
            out.append(e.text).append(text.substr(e.copied.begin, e.copied.size()));
        };
        edit_pass pass(edits.all());
        for (const std::string_view piece : pieces)
            pass.feed(piece, keep, put);
        pass.finish(put);
        if (is_first)
            first = out;
        is_first = false;
        ASSERT_EQ(out, first) << "first piece " << pieces[0];
    });
    return first;
}

TEST(byte_edits, apply_in_the_order_of_the_text)
{
    edit_list edits;
    EXPECT_TRUE(edits.empty());
    EXPECT_EQ(applied("0123456789", edits), "0123456789");
    EXPECT_TRUE(edits.add({{8, 9}, "eight"}));
    EXPECT_TRUE(edits.add({{0, 2}, ""}));
    EXPECT_TRUE(edits.add({{4, 4}, "<"}));
    EXPECT_TRUE(edits.add({{4, 4}, ">"}));
    EXPECT_TRUE(edits.add({{2, 4}, {}, {6, 8}}));
    EXPECT_EQ(applied("0123456789", edits), "67<>4567eight9");
    EXPECT_TRUE(edits.add({{10, 10}, "!"}));
    EXPECT_EQ(applied("0123456789", edits), "67<>4567eight9!");
    EXPECT_FALSE(edits.add({{9, 10}, ""})) << "there is no room";
}

TEST(byte_edits, insert_before_what_is_replaced)
{
    edit_list edits;
    EXPECT_TRUE(edits.add({{3, 5}, "x"}));
    EXPECT_TRUE(edits.add({{3, 3}, "a"}));
    EXPECT_TRUE(edits.add({{3, 3}, "b"}));
    EXPECT_TRUE(edits.add({{5, 5}, "c"}));
    EXPECT_EQ(applied("0123456789", edits), "012abxc56789");
    EXPECT_TRUE(edits.add({{5, 10}, ""}));
    EXPECT_EQ(applied("0123456789", edits), "012abxc");
}

TEST(byte_edits, do_not_overlap)
{
    edit_list edits;
    EXPECT_TRUE(edits.add({{3, 6}, "x"}));
    EXPECT_TRUE(edits.add({{8, 8}, "y"}));
    for (const byte_range range :
         {byte_range{3, 6}, {2, 4}, {5, 7}, {4, 5}, {0, 9}, {4, 4}, {5, 5}, {7, 9}, {2, 1}})
        EXPECT_FALSE(edits.add({range, ""})) << range.begin << " " << range.end;
    EXPECT_TRUE(edits.add({{6, 8}, ""}));
    EXPECT_TRUE(edits.add({{0, 3}, ""}));
    EXPECT_EQ(applied("0123456789", edits), "xy89");
}

TEST(body_edit, keeps_what_stays_where_it_is)
{
    const std::string body = "0123456789} \n";
    body_edit edit(10);
    EXPECT_EQ(edited(body, edit), "0123456789}");
    EXPECT_EQ(edit.size(), 11u);
    EXPECT_TRUE(edit.replace({4, 7}, "ab"));
    EXPECT_TRUE(edit.blank({0, 2}));
    EXPECT_FALSE(edit.replace({8, 9}, "ab")) << "longer than what it replaces";
    EXPECT_FALSE(edit.blank({6, 8}));
    EXPECT_FALSE(edit.blank({9, 11})) << "the brace stays";
    EXPECT_TRUE(edit.append(",\"a\":1"));
    EXPECT_TRUE(edit.append(""));
    EXPECT_TRUE(edit.append(byte_range{3, 3}));
    EXPECT_TRUE(edit.append(byte_range{3, 6}));
    EXPECT_EQ(edited(body, edit), "  23ab 789,\"a\":1345}");
    EXPECT_EQ(edit.size(), edited(body, edit).size());
    EXPECT_EQ(edit.in_place().size(), 2u);
    EXPECT_EQ(edit.tail().size(), 3u);
    while (edit.all().size() < body_edit::max_edits)
        EXPECT_TRUE(edit.append("x"));
    EXPECT_FALSE(edit.append("x"));
    EXPECT_FALSE(edit.blank({8, 9}));
    EXPECT_EQ(edit.tail().back().text, "}");
    EXPECT_EQ(edit.in_place().size(), 2u);
}

} // namespace
