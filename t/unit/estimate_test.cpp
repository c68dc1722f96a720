#include "core/estimate.h"

#include <gtest/gtest.h>
#include <string>
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
    token_estimate most = f->estimate("k", "m", {UINT64_MAX, UINT32_MAX, UINT32_MAX});
    EXPECT_LE(most.completion, uint64_t{1} << 30);
    EXPECT_EQ(most.prompt, uint64_t{1} << 20);
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

TEST(estimate, what_it_has_learned_from_it_estimates_so)
{
    for (uint64_t bytes = 4; bytes < 2000; bytes += 37) {
        for (uint64_t tokens = 1; tokens <= bytes / 4; tokens += 3) {
            figures f;
            f->learn("k", "m", {bytes, 0, 1}, tokens, 1);
            ASSERT_EQ(f->estimate("k", "m", {bytes, 0, 1}).prompt, tokens);
        }
    }
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

TEST(estimate, no_completion_is_learned_as_such)
{
    figures f;
    f->learn("k", "embed", {400, 0, 1}, 100, 0);
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).prompt, 100u);
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).completion, 0u);
    EXPECT_EQ(f->estimate("other", "embed", {400, 0, 1}).completion, 0u);
    // A model that is used for both.
    for (int i = 0; i < 100; i++) {
        f->learn("k", "embed", {400, 0, 1}, 100, 50);
    }
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).completion, 50u);
    for (int i = 0; i < 100; i++) {
        f->learn("k", "embed", {400, 0, 1}, 100, 0);
    }
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).completion, 0u);
}

TEST(estimate, a_prompt_that_is_not_known_teaches_only_of_completions)
{
    figures f;
    f->learn("k", "m", {400, 0, 1}, 0, 20);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 100u);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).completion, 20u);
}

TEST(estimate, of_a_model_alone_holds_for_keys_that_know_nothing_better)
{
    figures f;
    f->learn("k", "m", {400, 0, 1}, 200, 20);
    f->learn("m", {400, 0, 1}, 50, 4000);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 200u);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).completion, 20u);
    EXPECT_GT(f->estimate("k2", "m", {400, 0, 1}).completion, 400u);
}

TEST(estimate, bytes_of_streams)
{
    figures f;
    EXPECT_EQ(f->tokens_of_stream("m", api::openai, 0), 0u);
    EXPECT_EQ(f->tokens_of_stream("m", api::openai, 1), 1u);
    EXPECT_EQ(f->tokens_of_stream("m", api::openai, 2100), 10u);
    EXPECT_EQ(f->tokens_of_stream("m", api::ollama, 1200), 10u);
    f->learn_stream("m", api::openai, 30000, 100);
    EXPECT_EQ(f->tokens_of_stream("m", api::openai, 3000), 10u);
    EXPECT_EQ(f->tokens_of_stream("m", api::anthropic, 1200), 10u);
    EXPECT_EQ(f->tokens_of_stream("other", api::openai, 2100), 10u);
    f->learn_stream("m", api::anthropic, 500, 100);
    EXPECT_EQ(f->tokens_of_stream("m", api::anthropic, 50), 10u);
    EXPECT_EQ(f->tokens_of_stream("m", api::openai, 3000), 10u);
    // What says nothing teaches nothing.
    f->learn_stream("m", api::openai, 0, 100);
    f->learn_stream("m", api::openai, 100, 0);
    EXPECT_EQ(f->tokens_of_stream("m", api::openai, 3000), 10u);
    // The model's own figure stands beside.
    f->learn("m", {400, 0, 1}, 200, 20);
    EXPECT_EQ(f->tokens_of_stream("m", api::openai, 3000), 10u);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 200u);
    for (int i = 0; i < 200; i++) {
        f->learn_stream("m", api::openai, UINT64_MAX, 1);
    }
    EXPECT_GE(f->tokens_of_stream("m", api::openai, UINT64_MAX), 1u);
    EXPECT_LE(f->tokens_of_stream("m", api::openai, UINT64_MAX), uint64_t{1} << 40);
}

TEST(estimate, names_that_are_alike_have_places_of_their_own)
{
    figures f(1 << 16);
    std::vector<std::string> names;
    for (size_t size = 0; size < 40; size++) {
        names.push_back(std::string(size, 'a'));
        for (size_t at = 0; at < size; at++) {
            std::string name(size, 'a');
            name[at] = 'b';
            names.push_back(name);
        }
    }
    for (size_t i = 0; i < names.size(); i++) {
        f->learn(names[i], {400, 0, 1}, 100, i);
    }
    size_t lost = 0;
    for (size_t i = 0; i < names.size(); i++) {
        lost += f->estimate("k", names[i], {400, 0, 1}).completion != i;
    }
    // Of 820 in 65536 places about five pairs meet by chance.
    EXPECT_LE(lost, 20u);
}

TEST(estimate, one_place_for_all_loses_and_never_mixes)
{
    figures f(1);
    f->learn("a", "m", {400, 0, 1}, 100, 1000);
    f->learn("b", "n", {800, 0, 1}, 100, 2000);
    EXPECT_EQ(f->estimate("a", "m", {400, 0, 1}).completion, 256u);
    EXPECT_EQ(f->estimate("b", "n", {400, 0, 1}).completion, 2000u);
}
