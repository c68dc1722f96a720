#include "core/api/model_table.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

using namespace llm;

namespace {

struct built {
    explicit built(std::vector<model_row> from)
        : rows(std::move(from)), index(model_table::index_size(rows.size()))
    {
        table.build(rows, index);
    }
    // The number of the row that holds, or -1.
    int of(std::string_view model) const
    {
        const model_row* row = table.find(model);
        return row ? static_cast<int>(row - rows.data()) : -1;
    }

    std::vector<model_row> rows;
    std::vector<uint32_t> index;
    model_table table;
};

model_row exact(std::string_view name)
{
    return {.name = name, .as = {}};
}

model_row prefix(std::string_view name)
{
    return {.name = name, .is_prefix = true, .as = {}};
}

TEST(model_table, the_first_row_that_fits_holds)
{
    const built t({exact("gpt-4o"), prefix("gpt-4o-mini"), prefix("gpt-4o"), exact("qwen"), prefix("")});
    EXPECT_EQ(t.of("gpt-4o"), 0);
    EXPECT_EQ(t.of("gpt-4o-mini"), 1);
    EXPECT_EQ(t.of("gpt-4o-mini-2024"), 1);
    EXPECT_EQ(t.of("gpt-4o-2024"), 2);
    EXPECT_EQ(t.of("qwen"), 3);
    EXPECT_EQ(t.of("qwen3"), 4);
    EXPECT_EQ(t.of(""), 4);
    EXPECT_EQ(t.table.find_any(), &t.rows[4]);
    const built hidden({prefix("a"), exact("ab"), exact("b")});
    EXPECT_EQ(hidden.of("ab"), 0);
    EXPECT_EQ(hidden.of("b"), 2);
}

TEST(model_table, what_fits_no_row_has_none)
{
    const built t({exact("gpt-4o"), prefix("qwen-")});
    for (const char* model : {"", "gpt-4", "gpt-4o ", "GPT-4o", "qwen", "gpt-4o*", "qwe"})
        EXPECT_EQ(t.of(model), -1) << model;
    EXPECT_EQ(t.table.find_any(), nullptr);
}

TEST(model_table, tells_whether_names_matter)
{
    EXPECT_FALSE(built({prefix("")}).table.tells_apart());
    EXPECT_TRUE(built({prefix("a")}).table.tells_apart());
    EXPECT_TRUE(built({{.name = "", .is_prefix = true, .as = "x"}}).table.tells_apart());
    EXPECT_TRUE(built({exact("a"), prefix("")}).table.tells_apart());
}

TEST(model_table, knows_which_rows_never_hold)
{
    const std::vector<model_row> before = {exact("a"), prefix("b"), prefix("c-d")};
    const auto hides = [&](const model_row& row) { return row_that_hides(before, row); };
    EXPECT_EQ(hides(exact("a")), &before[0]);
    EXPECT_EQ(hides(prefix("a")), nullptr);
    EXPECT_EQ(hides(exact("b")), &before[1]);
    EXPECT_EQ(hides(exact("bc")), &before[1]);
    EXPECT_EQ(hides(prefix("bc")), &before[1]);
    EXPECT_EQ(hides(prefix("c")), nullptr);
    EXPECT_EQ(hides(prefix("")), nullptr);
    EXPECT_EQ(hides(exact("c-e")), nullptr);
}

TEST(model_table, weights_that_a_row_does_not_give_are_the_others)
{
    const model_row row{.name = "a", .as = {}, .completion = 0};
    EXPECT_EQ(row.weights({1, 2, 3}), (usage_weights{1, 2, 0}));
    EXPECT_EQ(exact("a").weights({1, 2, 3}), (usage_weights{1, 2, 3}));
}

TEST(model_table, leaves_out_the_collection)
{
    EXPECT_EQ(short_model_name("models/gemini"), "gemini");
    EXPECT_EQ(short_model_name("models/"), "");
    EXPECT_EQ(short_model_name("model/x"), "model/x");
    EXPECT_EQ(short_model_name("x/models/y"), "x/models/y");
}

// The same as looking at each row in turn, with many rows that are alike.
TEST(model_table, finds_what_a_look_at_each_row_finds)
{
    std::mt19937 random(7);
    const auto name = [&] {
        std::string text;
        for (size_t n = random() % 5; n != 0; --n)
            text += static_cast<char>('a' + random() % 3);
        return text;
    };
    for (int round = 0; round < 300; ++round) {
        std::vector<std::string> names(1 + random() % 40);
        std::vector<model_row> rows;
        for (std::string& n : names) {
            n = name();
            rows.push_back(random() % 3 == 0 ? prefix(n) : exact(n));
        }
        const built t(std::move(rows));
        for (int i = 0; i < 100; ++i) {
            const std::string model = name();
            int wanted = -1;
            for (size_t row = 0; row < t.rows.size() && wanted < 0; ++row)
                wanted = t.rows[row].fits(model) ? static_cast<int>(row) : -1;
            ASSERT_EQ(t.of(model), wanted) << model;
        }
    }
}

} // namespace
