#include "core/estimate.h"

#include <gtest/gtest.h>
#include <vector>

using namespace llm;

namespace {

class figures {
public:
    explicit figures(uint32_t capacity = 1024) : memory_(capacity)
    {
        figures_.format(memory_.data(), capacity, {5, 6});
    }
    learned_figures* operator->() { return &figures_; }

private:
    std::vector<uint64_t> memory_;
    learned_figures figures_;
};

} // namespace

TEST(estimate, begins_with_four_bytes_a_token_and_a_short_answer)
{
    figures f;
    token_estimate e = f->estimate("k", "m", {401, 0, 1});
    EXPECT_EQ(e.prompt, 101u);
    EXPECT_EQ(e.completion, 256u);
    EXPECT_EQ(f->estimate("k", "m", {}).prompt, 0u);
}

TEST(estimate, takes_the_requests_own_limit_of_every_choice)
{
    figures f;
    EXPECT_EQ(f->estimate("k", "m", {0, 100, 3}).completion, 300u);
    EXPECT_EQ(f->estimate("k", "m", {0, 100, 0}).completion, 100u);
    EXPECT_LE(f->estimate("k", "m", {UINT64_MAX, UINT64_MAX, UINT64_MAX}).completion, uint64_t{1} << 30);
}

TEST(estimate, learns_each_key_and_model_by_itself)
{
    figures f;
    for (int i = 0; i < 100; i++) {
        f->learn("k", "m", {6000, 0, 1}, 1000, 5000);
    }
    EXPECT_EQ(f->estimate("k", "m", {6000, 0, 1}).prompt, 1000u);
    EXPECT_EQ(f->estimate("k", "m", {6000, 0, 1}).completion, 5000u);
    EXPECT_EQ(f->estimate("k", "other", {6000, 0, 1}).completion, 256u);
    // Another key begins with what is known of the model.
    EXPECT_EQ(f->estimate("k2", "m", {6000, 0, 1}).completion, 5000u);
    f->learn("k2", "m", {6000, 0, 1}, 2000, 10);
    EXPECT_EQ(f->estimate("k2", "m", {6000, 0, 1}).completion, 10u);
    EXPECT_EQ(f->estimate("k2", "m", {6000, 0, 1}).prompt, 2000u);
    EXPECT_EQ(f->estimate("k", "m", {6000, 0, 1}).completion, 5000u);
}

TEST(estimate, follows_a_change_and_comes_to_it)
{
    figures f;
    f->learn("k", "m", {400, 0, 1}, 100, 1000);
    for (int i = 0; i < 8; i++) {
        f->learn("k", "m", {400, 0, 1}, 100, 10);
    }
    EXPECT_LT(f->estimate("k", "m", {}).completion, 400u);
    for (int i = 0; i < 100; i++) {
        f->learn("k", "m", {400, 0, 1}, 100, 10);
    }
    EXPECT_EQ(f->estimate("k", "m", {}).completion, 10u);
}

TEST(estimate, what_says_nothing_teaches_nothing_and_extremes_are_kept_in)
{
    figures f;
    f->learn("k", "m", {0, 0, 1}, 0, 0);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 100u);
    f->learn("k", "m", {1, 0, 1}, UINT64_MAX, UINT64_MAX);
    EXPECT_LE(f->estimate("k", "m", {400, 0, 1}).completion, uint64_t{1} << 20);
    f->learn("k", "m2", {UINT64_MAX, 0, 1}, 1, 1);
    EXPECT_EQ(f->estimate("k", "m2", {1000, 0, 1}).prompt, 1u);
}

TEST(estimate, one_place_for_all_loses_and_never_mixes)
{
    figures f(1);
    f->learn("a", "m", {400, 0, 1}, 100, 1000);
    f->learn("b", "n", {800, 0, 1}, 100, 2000);
    EXPECT_EQ(f->estimate("a", "m", {400, 0, 1}).completion, 256u);
    EXPECT_EQ(f->estimate("b", "n", {400, 0, 1}).completion, 2000u);
}
