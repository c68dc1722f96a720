#include "core/shared/book_export.h"
#include "shared_zone.h"

#include <array>
#include <set>
#include <string>
#include <tuple>

using namespace llm;

namespace {

constexpr moment now{1000000000, 1709164800000};
constexpr uint64_t keys = 10000;
constexpr uint64_t models = 5;

// As the operations page says, this zone has room for them.
class large_book : public testing::Test {
protected:
    large_book() : zone(64 << 20)
    {
        zone.publish(file_of("keys.json", keys));
        for (uint64_t i = 0; i < keys * models; i++) {
            ends(i % keys, i / keys);
        }
    }
    void ends(uint64_t key, uint64_t model)
    {
        lease* l = zone.admit(zone.request(key, "model" + std::to_string(model))).taken;
        ASSERT_NE(l, nullptr);
        l->set_answered();
        zone->settle(*l, {7, 0, 10, 0, 0}, now, {.is = outcome::ok});
    }

    // All slices, by `copy(at, locked)`.
    template <class Copy>
    void pass(Copy&& copy)
    {
        book_cursor at;
        size_t n = 0;
        do {
            n = copy(at, [](auto&& f) { f(); });
            EXPECT_LE(n, max_slice_of_book);
        } while (n != 0);
    }

    shared_zone zone;
};

} // namespace

TEST_F(large_book, is_read_in_slices_with_all_that_is_in_it)
{
    std::array<series_copy, 2 * max_slice_of_book> copies; // it takes no more than it may
    std::set<std::tuple<std::string, std::string, std::string>> seen;
    token_counts tokens{};
    uint64_t requests = 0;
    uint64_t others = 0;
    pass([&](book_cursor& at, auto&& locked) {
        const size_t n = copy_series(zone->counted(), at, 0, copies, locked);
        for (const series_copy& s : std::span(copies).first(n)) {
            EXPECT_TRUE(seen.emplace(s.key(), s.user(), s.model()).second) << s.key() << s.model();
            requests += s.counts.requests[index_of(outcome::ok)];
            tokens.add(s.counts.tokens);
            others += s.key() == "other" || s.model() == "other";
        }
        return n;
    });
    EXPECT_EQ(seen.size(), keys * models + 1);
    EXPECT_EQ(others, 1u);
    EXPECT_EQ(requests, keys * models);
    EXPECT_EQ(tokens, (token_counts{7 * keys * models, 0, 10 * keys * models, 0, 0}));

    std::array<client_copy, max_slice_of_book> clients;
    size_t n_clients = 0;
    pass([&](book_cursor& at, auto&& locked) {
        const size_t n = copy_clients(zone->counted(), at, clients, locked);
        n_clients += n;
        return n;
    });
    EXPECT_EQ(n_clients, keys + 2);
}

// Requests go on between slices: what they make is not in the pass, and nothing is there twice.
TEST_F(large_book, may_change_while_it_is_read)
{
    std::array<series_copy, max_slice_of_book> copies;
    std::set<std::tuple<std::string, std::string>> seen;
    uint64_t requests = 0;
    uint64_t slices = 0;
    pass([&](book_cursor& at, auto&& locked) {
        const size_t n = copy_series(zone->counted(), at, 0, copies, locked);
        for (const series_copy& s : std::span(copies).first(n)) {
            EXPECT_TRUE(seen.emplace(s.key(), s.model()).second);
            EXPECT_NE(s.model(), "model9");
            requests += s.counts.requests[index_of(outcome::ok)];
        }
        ends(slices * 7 % keys, slices % models);
        ends(slices * 13 % keys, slices % 2 == 0 ? 9 : 0);
        slices++;
        return n;
    });
    EXPECT_EQ(seen.size(), keys * models + 1);
    EXPECT_GE(requests, keys * models);
    EXPECT_LE(requests, keys * models + 2 * slices);
}
