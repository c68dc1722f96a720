#include "core/event_skip.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace {

using namespace llm;

#if defined(__SSE2__)
// Processors without AVX2 take the other way, which is to find the same.
TEST(event_skip, finds_the_same_in_blocks_of_any_size)
{
    if (!detail::has_avx2) {
        GTEST_SKIP() << "this processor has no AVX2";
    }
    const std::string pieces[] = {
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
    std::mt19937 random(1);
    for (int i = 0; i < 100000; ++i) {
        std::string text(random() % 70, 'y');
        for (unsigned n = random() % 8; n != 0; --n) {
            // The last piece is the most frequent, so that blocks without a find are among them.
            const size_t piece = random() % (2 * std::size(pieces));
            text += pieces[std::min(piece, std::size(pieces) - 1)];
        }
        text.append(66, 'z');
        const char* const begin = text.data();
        const char* const end = begin + text.size();
        const bool null_tells = i % 2 != 0;
        const detail::event_search narrow = detail::search_events(begin, end, null_tells);
        const detail::event_search wide = detail::search_events_wide(begin, end, null_tells);
        ASSERT_EQ(narrow.told, wide.told) << text;
        ASSERT_EQ(narrow.border, wide.border) << text;
    }
}
#endif

} // namespace
