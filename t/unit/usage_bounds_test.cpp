#include "core/shared/usage_bounds.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

token_counts within(const request_size& size, const token_counts& told, uint64_t shown = 0)
{
    return usage_bounds(size).within(told, shown);
}

} // namespace

TEST(usage_bounds, what_can_be_stays_as_it_is)
{
    const token_counts told{
        .prompt = 100000, .cached = 5, .completion = 20000, .reasoning = 9, .cache_write = 7};
    EXPECT_EQ(within({48, 0, 1}, told), told);
    EXPECT_EQ(within({48, 100, 1}, told), told) << "a server that ignores the maximum";
}

TEST(usage_bounds, more_than_can_be_is_not_taken)
{
    const token_counts absurd{.prompt = UINT32_MAX,
                              .cached = UINT32_MAX,
                              .completion = UINT32_MAX,
                              .reasoning = UINT32_MAX,
                              .cache_write = UINT32_MAX};
    EXPECT_EQ(within({48, 0, 1}, absurd).completion, 1u << 20);
    EXPECT_EQ(within({48, 100, 3}, absurd).completion, 3u << 20);
    EXPECT_EQ(within({48, 0, 1}, absurd, 5 << 20).completion, 5u << 20);
    EXPECT_EQ(within({48, 0, 1}, absurd).prompt, 1u << 21);
    EXPECT_EQ(within({4u << 20, 0, 1}, absurd).prompt, 4u << 20);
    for (const token_counts& c : {within({48, 0, 1}, absurd), within({48, 0, 1}, {5, 9, 1, 9, 9})}) {
        EXPECT_LE(c.cached + c.cache_write, c.prompt);
        EXPECT_LE(c.reasoning, c.completion);
    }
}

TEST(usage_bounds, an_estimate_is_never_above_the_requests_own_maximum)
{
    EXPECT_EQ(max_estimated_completion({0, 100, 3}), 300u);
    EXPECT_EQ(max_estimated_completion({0, 0, 1}), 1u << 20);
}
