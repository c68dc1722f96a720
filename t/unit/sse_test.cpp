#include "core/json/sse.h"

#include "pieces.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

std::string events(const std::vector<std::string_view>& pieces)
{
    std::string all;
    sse_reader reader;
    const auto on = [&](const sse_item& item) {
        if (item.is == sse_item::what::data)
            all.append(item.bytes);
        else if (item.is == sse_item::what::error)
            all += "<error>";
        else if (item.is == sse_item::what::end)
            all.append("[").append(reader.event()).append("]");
        return item.is != sse_item::what::none;
    };
    size_t fed = 0;
    for (std::string_view piece : pieces) {
        fed += piece.size();
        while (on(reader.next(piece)))
            ;
        EXPECT_TRUE(piece.empty());
        EXPECT_EQ(reader.offset(), fed);
    }
    all += "|";
    while (on(reader.finish()))
        ;
    return all;
}

void expect_events(std::string_view text, std::string_view expected)
{
    every_way(text, [&](const auto& pieces) { ASSERT_EQ(events(pieces), expected) << text; });
}

TEST(sse, ends_lines_in_all_ways)
{
    expect_events("data: a\n\ndata: b\n\n", "a[]b[]|");
    expect_events("data: a\r\n\r\ndata: b\r\n\r\n", "a[]b[]|");
    expect_events("data: a\r\rdata: b\r\r", "a[]b[]|");
    expect_events("data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\r", "a[]b[]c[]d[]|");
}

TEST(sse, strips_one_space)
{
    expect_events("data:a\n\ndata: b\n\ndata:  c\n\ndata:\td\n\n", "a[]b[] c[]\td[]|");
    expect_events("data: {} \n\n", "{} []|");
}

TEST(sse, joins_lines)
{
    expect_events("data: a\ndata:b\n\n", "a\nb[]|");
    expect_events("data\ndata\n\n", "\n[]|");
    expect_events("data:\ndata:\ndata: x\r\n\n", "\n\nx[]|");
}

TEST(sse, ignores_comments_and_other_fields)
{
    expect_events(":\n\n: ping\n\n:data: x\n\n", "|");
    expect_events("id: 1\nretry: 5\ndata: a\ndatas: b\ndat: c\n data: d\nDATA: e\n\n", "a[]|");
    expect_events("\n\n\n", "|");
}

TEST(sse, tells_the_event_name)
{
    expect_events("event: ping\ndata: x\n\ndata: y\n\n", "x[ping]y[]|");
    expect_events("event:ping\nevent\ndata: x\n\n", "x[]|");
    expect_events("event: a\nevent: b\ndata: x\n\n", "x[b]|");
    expect_events("event: lost\n\ndata: x\n\n", "x[]|");
    const std::string fits(sse_reader::max_event, 'e');
    expect_events("event: " + fits + "\ndata: x\n\nevent: " + fits + "e\ndata: y\n\n", "x[" + fits + "]y[]|");
}

TEST(sse, tells_error_fields)
{
    expect_events("error: {\"code\":500}\n\n", "<error>|");
    expect_events("data: x\nerror:\n\nerror\n\nerrors: 1\n\n", "x<error>[]<error>|");
    expect_events("error", "|<error>");
}

TEST(sse, passes_a_byte_order_mark)
{
    expect_events("\xef\xbb\xbf"
                  "data: x\n\n",
                  "x[]|");
    expect_events("\xef\xbb"
                  "data: x\n\ndata: y\n\n",
                  "y[]|");
    expect_events("\xef\ndata: y\n\n", "y[]|");
    expect_events("data: x\n\n\xef\xbb\xbf"
                  "data: y\n\n",
                  "x[]|");
}

TEST(sse, ends_an_unterminated_event_at_the_end)
{
    expect_events("data: x", "x|[]");
    expect_events("data: x\n", "x|[]");
    expect_events("event: e\ndata: x\r", "x|[e]");
    expect_events("data", "|[]");
    expect_events("dat", "|");
    expect_events("event: e", "|");
    expect_events("", "|");
}

TEST(sse, knows_borders)
{
    sse_reader reader;
    std::string_view piece = "data: x\r\n\r";
    EXPECT_FALSE(reader.at_border());
    while (reader.next(piece).is != sse_item::what::end)
        EXPECT_FALSE(reader.at_border());
    EXPECT_FALSE(reader.at_border()); // a line feed may follow
    piece = "\n";
    EXPECT_EQ(reader.next(piece).is, sse_item::what::none);
    EXPECT_TRUE(reader.at_border());
    reader.skip(100);
    EXPECT_EQ(reader.offset(), 111u);
    piece = "event: e\n";
    EXPECT_EQ(reader.next(piece).is, sse_item::what::none);
    EXPECT_FALSE(reader.at_border());
}

} // namespace
