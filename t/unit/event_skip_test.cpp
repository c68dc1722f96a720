#include "core/event_skip.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace {

using namespace llm;

// What is telling or nearly so. The last one is the most frequent, so that blocks without a find are among
// them.
const std::string parts[] = {
    "\n\n",
    "data: {\"id\":\"x\"}",
    "\"usage\":null",
    "\"usage\":{}",
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

std::string random_events(std::mt19937& random)
{
    std::string text(random() % 70, 'y');
    for (unsigned n = random() % 8; n != 0; --n) {
        text += parts[std::min<size_t>(random() % (2 * std::size(parts)), std::size(parts) - 1)];
    }
    return text.append(random() % 70, 'z') + "\n\n";
}

// Processors go different ways, which are to find the same.
TEST(event_skip, finds_the_same_in_the_way_of_each_processor)
{
    const auto ways = event_skip_ways();
    const event_skip_way& simplest = ways.back();
    ASSERT_STREQ(simplest.name, "bytes");
    std::mt19937 random(1);
    for (int i = 0; i < 100000; ++i) {
        const bool null_tells = i % 2 != 0;
        std::vector<std::string> texts(1 + random() % 4);
        std::vector<reply_piece> pieces;
        for (std::string& text : texts) {
            text = random_events(random);
            pieces.push_back({text.data(), text.size(), 0, 0});
        }
        for (const event_skip_way& way : ways) {
            ASSERT_EQ(simplest.quiet_events(texts[0], null_tells), way.quiet_events(texts[0], null_tells))
                << way.name << ": " << texts[0];
            ASSERT_EQ(simplest.quiet_pieces(pieces, null_tells), way.quiet_pieces(pieces, null_tells))
                << way.name;
        }
    }
}

TEST(event_skip, stops_at_a_piece_that_tells_or_is_not_whole)
{
    const std::string quiet = "data: {\"choices\":[{\"delta\":{\"content\":\"some text\"}}]}\n\n";
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
        const reply_piece pieces[] = {
            {quiet.data(), quiet.size(), 0, 0},
            {quiet.data(), quiet.size(), 0, 0},
            {other.data(), other.size(), 0, 0},
            {quiet.data(), quiet.size(), 0, 0},
        };
        EXPECT_EQ(quiet_pieces(pieces, false), 2u) << other;
    }
}

} // namespace
