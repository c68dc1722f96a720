#include "core/reply/event_skip.h"

#include "core/api/api_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace llm;

// What is significant or nearly so. The last one is the most frequent, so that blocks without a find are
// among them.
const std::string parts[] = {
    "\n\n",
    "data: {\"id\":\"x\"}",
    "\"usage\":null",
    "\"usage\":{}",
    ",\"usage\":null}",
    ",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":12}}",
    "\"error\":null",
    "\"text\"",
    "\"timings\"",
    "\\u0075",
    "data: [DONE]",
    "event: error\n",
    "\r",
    "\n",
    "e",
    "\\n",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
};

const std::string head = "data: {\"choices\":[{\"delta\":{\"content\":\"";
const std::string rest = "\"}}]}\n\n";
const std::string named_head = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"";

// By the name in named_head.
uint8_t named_delta()
{
    const auto deltas = all_deltas();
    return static_cast<uint8_t>(std::find(deltas.begin(), deltas.end(), "content_block_delta")
                                - deltas.begin() + 1);
}

std::string random_event(std::mt19937& random)
{
    std::string text = (random() % 4 == 0 ? named_head : head) + std::string(random() % 70, 'y') + '"';
    for (unsigned n = random() % 8; n != 0; --n) {
        text += parts[std::min<size_t>(random() % (2 * std::size(parts)), std::size(parts) - 1)];
    }
    return text.append(random() % 2 * (random() % 70), 'z') + "\n\n";
}

std::string random_events(std::mt19937& random)
{
    std::string text;
    for (unsigned n = random() % 3; n != 0; --n) {
        text += random_event(random);
    }
    return text + random_event(random);
}

std::string told(const event_usage& event)
{
    std::string all;
    for (const uint64_t n : {uint64_t{event.size}, uint64_t{static_cast<uint8_t>(event.is)},
                             uint64_t{event.erase_begin}, uint64_t{event.erase_end}, event.text,
                             uint64_t{event.choice_index}, uint64_t{event.counts.completion}}) {
        all += std::to_string(n) + ' ';
    }
    return all;
}

// What a way notes of the pieces.
std::string erased(const std::vector<reply_piece>& pieces)
{
    std::string all;
    for (const reply_piece& piece : pieces) {
        all += std::to_string(piece.erase_begin) + '-' + std::to_string(piece.erase_end) + ' ';
    }
    return all;
}

// Processors go different ways, which are to find the same.
TEST(event_skip, finds_the_same_in_the_way_of_each_processor)
{
    const auto ways = event_skip_ways();
    const event_skip_way simplest = ways.back();
    text_place place;
    place.set(head.data() + head.size(), head.size(), '}');
    place.set_event(head.size() + 103, 100, 0, 0);
    text_place named_place;
    named_place.set(named_head.data() + named_head.size(), named_head.size(), '}');
    named_place.set_event(named_head.size() + 103, 100, 0, named_delta());
    ASSERT_EQ(simplest, event_skip_way::bytes);
    std::mt19937 random(1);
    for (int i = 0; i < 100000; ++i) {
        const bool null_tells = i % 2 != 0;
        const text_place& at = i % 3 == 0 ? named_place : place;
        std::vector<std::string> texts(1 + random() % 4);
        std::vector<reply_piece> pieces;
        for (std::string& text : texts) {
            text = random_events(random);
            pieces.push_back({text.data(), text.size(), 0, 0});
        }
        for (const event_skip_way way : ways) {
            SCOPED_TRACE(static_cast<int>(way));
            text_size want;
            text_size got;
            ASSERT_EQ(skippable_events(texts[0], null_tells, at, want, simplest),
                      skippable_events(texts[0], null_tells, at, got, way))
                << texts[0];
            ASSERT_EQ(want, got) << texts[0];
            std::vector<reply_piece> expected = pieces;
            std::vector<reply_piece> found = pieces;
            ASSERT_EQ(skippable_pieces(expected, null_tells, at, want, simplest),
                      skippable_pieces(found, null_tells, at, got, way));
            ASSERT_EQ(want, got);
            ASSERT_EQ(erased(expected), erased(found));
            ASSERT_EQ(told(read_event(texts[0], at, simplest)), told(read_event(texts[0], at, way)))
                << texts[0];
            const char* const end = texts[0].data() + texts[0].size();
            ASSERT_EQ(find_telling(texts[0].data(), end, simplest), find_telling(texts[0].data(), end, way))
                << texts[0];
        }
    }
}

TEST(event_skip, stops_at_a_piece_that_tells_or_is_not_whole)
{
    const std::string skippable = "data: {\"choices\":[{\"delta\":{\"content\":\"some text\"}}]}\n\n";
    for (const std::string& other : {
             std::string(),
             std::string("\n"),
             std::string("data: {}\n"),
             std::string("data: [DONE]\n\n"),
             std::string("event: error\ndata: {}\n\n"),
             std::string("data: {\"usage\":{}}\n\n"),
             std::string("data: {\"\\u0075sage\":{}}\n\n"),
             std::string("data: {}\r\n\n"),
         }) {
        reply_piece pieces[] = {
            {skippable.data(), skippable.size(), 0, 0},
            {skippable.data(), skippable.size(), 0, 0},
            {other.data(), other.size(), 0, 0},
            {skippable.data(), skippable.size(), 0, 0},
        };
        text_place place;
        place.set(skippable.data() + head.size(), head.size(), '}');
        place.set_event(skippable.size(), rest.size(), 0, 0);
        text_size text;
        EXPECT_EQ(skippable_pieces(pieces, false, place, text), 2u) << other;
        EXPECT_EQ(text, (text_size{18, 2})) << other;
    }
}

// What has its text elsewhere, or ends within it, has to be read: an estimate would miss it.
TEST(event_skip, stops_where_the_text_is_elsewhere)
{
    text_place place;
    place.set(head.data() + head.size(), head.size(), '}');
    place.set_event(head.size() + rest.size(), rest.size(), 0, 0);
    const std::string skippable = head + "some \\u4f60\\n" + rest;
    for (const std::string& other : {
             std::string(": a comment\n\n"),
             std::string("data: {\"choices\":[{\"delta\":{}}]}\n\n"),
             std::string("data: {\"choices\":[{\"delta\":{\"reasoning\":\"some\"}}]}\n\n"),
             std::string("data: {\"choices\":[{\"delta\":{\"role\":\"a\",\"content\":\"some\"}}]}\n\n"),
             head + rest,
             head + "\",\"tool_calls\":[{\"function\":{\"arguments\":\"some\"}}]}}]}\n\n",
             head + "some\",\"tool_calls\":[{\"function\":{\"arguments\":\"some\"}}]}}]}\n\n",
             head + "some\"}},{\"delta\":{\"content\":\"some\"}}]}\n\n",
             head + "\n\n",
             head + "\\\n\n",
             head + "\\u12\n\n",
         }) {
        const std::string events = skippable + skippable + other + skippable;
        text_size text;
        EXPECT_EQ(skippable_events(events, false, place, text), 2 * skippable.size()) << other;
        EXPECT_EQ(text, (text_size{18, 2})) << other;
        text = {};
        EXPECT_EQ(skippable_events(other, false, place, text), 0u) << other;
        EXPECT_EQ(text, text_size{}) << other;
    }
}

// Of named events only those of one name are alike.
TEST(event_skip, stops_at_an_event_of_another_name)
{
    text_place place;
    place.set(named_head.data() + named_head.size(), named_head.size(), '}');
    place.set_event(named_head.size() + 9, 5, 0, named_delta());
    const std::string skippable = named_head + "some\"}}\n\n";
    std::string other = skippable;
    other[8] = 'C';
    const std::string partial = named_head + "some";
    for (const std::string& last :
         {other, partial, partial + "\"}}\n", std::string("\n"), std::string("e")}) {
        const std::string events = skippable + skippable + last;
        reply_piece pieces[] = {{skippable.data(), skippable.size(), 0, 0},
                                {skippable.data(), skippable.size(), 0, 0},
                                {last.data(), last.size(), 0, 0}};
        text_size text;
        EXPECT_EQ(skippable_events(events, false, place, text), 2 * skippable.size()) << last;
        EXPECT_EQ(skippable_pieces(pieces, false, place, text), 2u) << last;
        EXPECT_EQ(text, (text_size{16, 4})) << last;
        EXPECT_EQ(skippable_events(last, false, place, text), 0u) << last;
    }
}

} // namespace
