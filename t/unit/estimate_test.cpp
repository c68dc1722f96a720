#include "core/shared/estimate.h"

#include <gtest/gtest.h>
#include <random>
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
    token_estimator* operator->() { return &figures_; }

private:
    std::vector<uint64_t> memory_;
    token_estimator figures_;
};

uint64_t text_tokens(figures& f, std::string_view key, std::string_view model, uint64_t bytes)
{
    return f->ratios(key, model).text_tokens({bytes, 1});
}

} // namespace

TEST(estimate, begins_with_four_bytes_a_token_and_a_short_answer)
{
    figures f;
    token_estimate e = f->estimate("k", "m", {401, 0, 1});
    EXPECT_EQ(e.prompt, 101u);
    EXPECT_EQ(e.completion, 256u);
    EXPECT_EQ(f->estimate("k", "m", {}).prompt, 0u);
    EXPECT_EQ(f->estimate("k", "m", {0, 0, 3}).completion, 768u);
    EXPECT_EQ(f->ratios("k", "m").prompt_tokens({401}), 101u);
    EXPECT_EQ(text_tokens(f, "k", "m", 400), 100u);
}

TEST(estimate, takes_the_requests_own_limit_of_every_choice)
{
    figures f;
    EXPECT_EQ(f->estimate("k", "m", {0, 100, 3}).completion, 300u);
    EXPECT_EQ(f->estimate("k", "m", {0, 100, 0}).completion, 100u);
    EXPECT_EQ(f->estimate("k", "m", {0, 100, request_size::choices_of(2, 1000)}).completion, 200000u);
    token_estimate most =
        f->estimate("k", "m", {UINT64_MAX, UINT32_MAX, request_size::choices_of(UINT64_MAX, UINT64_MAX)});
    EXPECT_LE(most.completion, uint64_t{1} << 40);
    EXPECT_EQ(most.prompt, uint64_t{1} << 20);
}

TEST(estimate, learns_each_key_and_model_by_itself)
{
    figures f;
    for (int i = 0; i < 100; i++) {
        f->learn("k", "m", {6000, 0, 1}, {1000, 5000, 15000});
    }
    EXPECT_EQ(f->estimate("k", "m", {6000, 0, 1}).prompt, 1000u);
    EXPECT_EQ(f->estimate("k", "m", {6000, 0, 1}).completion, 5000u);
    EXPECT_EQ(text_tokens(f, "k", "m", 15000), 5000u);
    EXPECT_EQ(f->estimate("k", "other", {6000, 0, 1}).completion, 256u);
    EXPECT_EQ(text_tokens(f, "k", "other", 15000), 3750u);
    EXPECT_EQ(f->ratios("k", "other").prompt_tokens({6000}), 1500u);
    f->learn("k2", "m", {6000, 0, 1}, {2000, 10, 0});
    EXPECT_EQ(f->estimate("k2", "m", {6000, 0, 1}).completion, 10u);
    EXPECT_EQ(f->estimate("k2", "m", {6000, 0, 1}).prompt, 2000u);
    EXPECT_EQ(f->estimate("k", "m", {6000, 0, 1}).completion, 5000u);
}

TEST(estimate, what_it_has_learned_from_it_estimates_so)
{
    for (uint64_t bytes = 8; bytes < 2000; bytes += 37) {
        for (uint64_t tokens = bytes / 8 + 1; tokens <= bytes / 2; tokens += 3) {
            figures f;
            f->learn("k", "m", {bytes, 0, 1}, {tokens, 1, 0});
            ASSERT_EQ(f->estimate("k", "m", {bytes, 0, 1}).prompt, tokens) << bytes;
            ASSERT_EQ(f->ratios("k", "m").prompt_tokens({bytes}), tokens) << bytes;
        }
    }
}

TEST(estimate, follows_a_change_and_comes_to_it)
{
    figures f;
    f->learn("k", "m", {400, 0, 1}, {100, 1000, 4000});
    for (int i = 0; i < 8; i++) {
        f->learn("k", "m", {400, 0, 1}, {100, 10, 60});
    }
    EXPECT_LT(f->estimate("k", "m", {}).completion, 400u);
    for (int i = 0; i < 100; i++) {
        f->learn("k", "m", {400, 0, 1}, {100, 10, 0});
    }
    EXPECT_EQ(f->estimate("k", "m", {}).completion, 10u);
    for (int i = 0; i < 30; i++) {
        f->learn("k", "m", {400, 0, 1}, {100, 1000, 6000});
    }
    EXPECT_NEAR(static_cast<double>(text_tokens(f, "k", "m", 60000)), 10000, 100);
}

// A short reply says little of the next one.
TEST(estimate, a_lesson_counts_by_its_tokens)
{
    figures f;
    f->learn("k", "m", {}, {1, 2000, 8000});
    for (int i = 0; i < 1000; i++) {
        f->learn("k", "m", {}, {1, 2, 16});
    }
    EXPECT_EQ(text_tokens(f, "k", "m", 8000), 2000u);
}

// Tokens that were not shown, prompts that stand elsewhere, images and absurd counts.
TEST(estimate, what_no_text_can_be_teaches_nothing)
{
    figures f;
    f->learn("k", "m", {48, 0, 1}, {100000, 20000, 12});
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 100u);
    EXPECT_EQ(text_tokens(f, "k", "m", 400), 100u);
    f->learn("k", "m", {1000000, 0, 1}, {100, 3, 900});
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 100u);
    EXPECT_EQ(text_tokens(f, "k", "m", 400), 100u);
    f->learn("k", "m", {UINT64_MAX, 0, 1}, {UINT64_MAX, UINT64_MAX, UINT64_MAX});
    f->learn("k", "m", {1, 0, 1}, {UINT64_MAX, UINT64_MAX, 1});
    EXPECT_EQ(text_tokens(f, "k", "m", 400), 100u);
    EXPECT_LE(f->estimate("k", "m", {400, 0, 1}).completion, uint64_t{1} << 20);
    f->learn("k", "m2", {0, 0, 1}, {0, 0, 0});
    EXPECT_EQ(f->estimate("k", "m2", {400, 0, 1}).completion, 256u);
}

TEST(estimate, no_completion_is_learned_as_such)
{
    figures f;
    f->learn("k", "embed", {400, 0, 1}, {100, 0, 0});
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).prompt, 100u);
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).completion, 0u);
    // A model that is used for both.
    for (int i = 0; i < 100; i++) {
        f->learn("k", "embed", {400, 0, 1}, {100, 50, 0});
    }
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).completion, 50u);
    for (int i = 0; i < 100; i++) {
        f->learn("k", "embed", {400, 0, 1}, {100, 0, 0});
    }
    EXPECT_EQ(f->estimate("k", "embed", {400, 0, 1}).completion, 0u);
}

TEST(estimate, a_prompt_that_is_not_known_teaches_only_of_completions)
{
    figures f;
    f->learn("k", "m", {400, 0, 1}, {0, 20, 0});
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 100u);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).completion, 20u);
}

TEST(estimate, takes_media_for_a_fixed_figure)
{
    figures f;
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1, 1}).prompt, 1100u);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1, 3}).prompt, 3100u);
    EXPECT_EQ(f->ratios("k", "m").prompt_tokens({400, 0, 1, 2}), 2100u);
    EXPECT_EQ(f->ratios("k", "m").prompt_tokens({400, 0, 1, UINT32_MAX}), token_ratios::max_prompt);
    // What it has of tokens is no lesson for text.
    for (int i = 0; i < 100; ++i) {
        f->learn("k", "m", {400, 0, 1, 1}, {200, 50, 0});
    }
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).prompt, 100u);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).completion, 50u);
    EXPECT_EQ(f->ratios("k", "m").prompt_tokens({400}), 100u);
}

TEST(estimate, completions_are_learned_of_one_choice)
{
    figures f;
    f->learn("k", "m", {400, 0, 4}, {100, 80, 0});
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 1}).completion, 20u);
    EXPECT_EQ(f->estimate("k", "m", {400, 0, 3}).completion, 60u);
    EXPECT_EQ(f->own_completion("k", "m"), 20u);
    EXPECT_EQ(f->own_completion("k2", "m"), 256u);
}

TEST(estimate, others_move_what_is_reserved_by_a_factor_of_two)
{
    figures f;
    for (int i = 0; i < 100; i++) {
        f->learn("k", "long", {4000, 0, 1}, {1999, 50000, 0});
        f->learn("k", "short", {4000, 0, 1}, {100, 1, 0});
    }
    EXPECT_EQ(f->estimate("k2", "long", {4000, 0, 1}).prompt, 1999u);
    EXPECT_EQ(f->estimate("k2", "long", {4000, 0, 1}).completion, 512u);
    EXPECT_EQ(f->estimate("k2", "short", {4000, 0, 1}).prompt, 500u);
    EXPECT_EQ(f->estimate("k2", "short", {4000, 0, 1}).completion, 128u);
    // And nothing of what is charged.
    EXPECT_EQ(f->ratios("k2", "long").prompt_tokens({4000}), 1000u);
    EXPECT_EQ(f->own_completion("k2", "long"), 256u);
}

// Whatever ten keys send, with as many names as they like.
TEST(estimate, of_one_key_is_not_moved_by_any_lessons_of_others)
{
    const unsigned seed = std::random_device()();
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto any_size = [&] { return random() >> (random() % 64); };
    figures f(8192);
    for (int i = 0; i < 200000; i++) {
        const std::string key = "k" + std::to_string(random() % 10);
        const std::string model = "m" + std::to_string(any_size() % 1000);
        f->learn(key, model,
                 {any_size(), static_cast<uint32_t>(any_size()), static_cast<uint32_t>(any_size())},
                 {any_size(), any_size(), any_size()});
        const std::string own = "m" + std::to_string(random() % 1000);
        ASSERT_EQ(f->ratios("honest", own).prompt_tokens({4000}), 1000u);
        ASSERT_EQ(text_tokens(f, "honest", own, 4000), 1000u);
        ASSERT_EQ(f->own_completion("honest", own), 256u);
        const token_estimate e = f->estimate("honest", own, {4000, 0, 1});
        ASSERT_GE(e.prompt, 500u);
        ASSERT_LE(e.prompt, 2000u);
        ASSERT_GE(e.completion, 128u);
        ASSERT_LE(e.completion, 512u);
    }
}

TEST(estimate, a_key_can_not_make_itself_cheap_or_dear)
{
    const unsigned seed = std::random_device()();
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto any_size = [&] { return random() >> (random() % 64); };
    figures f;
    for (int i = 0; i < 100000; i++) {
        f->learn("k", "m", {any_size(), 0, 1}, {any_size(), any_size(), any_size()});
        // Tokens of four bytes, as they are on the average, in events of one or more.
        for (const uint64_t pieces : {1, 100, 3000}) {
            const uint64_t tokens = f->ratios("k", "m").text_tokens({12000, pieces});
            ASSERT_GE(tokens, 1500u);
            ASSERT_LE(tokens, 9000u);
        }
        // And of one byte, each in an event, as digits are.
        ASSERT_GE(f->ratios("k", "m").text_tokens({3000, 3000}), 1500u);
    }
}

TEST(estimate, tokens_of_text)
{
    const token_ratios by;
    EXPECT_EQ(by.text_tokens({0, 0}), 0u);
    EXPECT_EQ(by.text_tokens({1, 1}), 1u);
    EXPECT_EQ(by.text_tokens({4000, 0}), 1000u);
    EXPECT_EQ(by.text_tokens({4000, 1000}), 1000u);
    EXPECT_EQ(by.text_tokens({1000, 1000}), 500u);
    EXPECT_LE(by.text_tokens({UINT64_MAX, 0}), uint64_t{1} << 40);
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
        f->learn(names[i], "m", {400, 0, 1}, {100, i, 0});
    }
    size_t lost = 0;
    for (size_t i = 0; i < names.size(); i++) {
        lost += f->estimate(names[i], "m", {400, 0, 1}).completion != i;
    }
    // Of 820 in 4096 lines of four places each some 20 pairs meet by chance.
    EXPECT_LE(lost, 60u);
}

TEST(estimate, a_key_has_room_for_some_models_and_pushes_out_its_own)
{
    figures f(16);
    f->learn("a", "m", {400, 0, 1}, {100, 1000, 0});
    f->learn("b", "n", {800, 0, 1}, {100, 2000, 0});
    EXPECT_TRUE(f->own_completion("a", "m") == 1000u || f->own_completion("a", "m") == 256u);
    EXPECT_EQ(f->own_completion("b", "n"), 2000u);
    for (int i = 0; i < 100; i++) {
        f->learn("b", std::to_string(i), {800, 0, 1}, {100, 1, 0});
    }
    EXPECT_EQ(f->own_completion("b", "99"), 1u);
}
