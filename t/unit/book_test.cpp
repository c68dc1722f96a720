#include "shared_zone.h"

#include <climits>
#include <csignal>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <tuple>
#include <unistd.h>
#include <vector>

using namespace llm;

namespace {

constexpr moment day_one{1000000000, 1709164800000}; // 2024-02-29

struct sums {
    std::array<uint64_t, outcomes> requests{};
    token_counts tokens;
    uint64_t cost = 0;
    uint64_t ms = 0;
    uint64_t firsts = 0;

    bool operator==(const sums&) const = default;

    void add(const book_counts& c)
    {
        for (size_t i = 0; i < outcomes; i++) {
            requests[i] += c.requests[i];
        }
        tokens.add(c.tokens);
        cost += c.cost;
        ms += c.ms;
        firsts += c.firsts;
    }
    uint64_t all() const
    {
        uint64_t n = 0;
        for (uint64_t of : requests) {
            n += of;
        }
        return n;
    }
};

using names = std::tuple<std::string, std::string, std::string>;

std::map<names, sums> by_names(const book& b)
{
    std::map<names, sums> all;
    for (uint32_t i = 0; i < b.series().high_water(); i++) {
        if (b.series().is_made(i)) {
            const book_series& s = b.series().at(i);
            const book_client& c = b.clients().at(s.client);
            EXPECT_TRUE(b.clients().is_made(s.client));
            EXPECT_TRUE(b.models().is_made(s.model));
            const auto [at, is_new] =
                all.emplace(names(c.key(), c.user(), b.models().at(s.model).name()), sums{});
            EXPECT_TRUE(is_new) << c.key() << " " << b.models().at(s.model).name() << " stands twice";
            at->second.add(s.counts);
        }
    }
    return all;
}

sums total_of(const book& b)
{
    sums total;
    for (uint32_t i = 0; i < b.series().high_water(); i++) {
        if (b.series().is_made(i)) {
            total.add(b.series().at(i).counts);
        }
    }
    return total;
}

std::array<uint64_t, refusal_reasons> refusals_of(const book& b)
{
    std::array<uint64_t, refusal_reasons> all{};
    for (uint32_t i = 0; i < b.clients().high_water(); i++) {
        for (size_t r = 0; b.clients().is_made(i) && r < refusal_reasons; r++) {
            all[r] += b.clients().at(i).refusals[r];
        }
    }
    return all;
}

uint64_t all_of(const auto& histogram)
{
    uint64_t n = 0;
    for (uint64_t count : histogram.counts) {
        n += count;
    }
    return n;
}

class book_of_zone : public testing::Test {
protected:
    void open(size_t bytes, size_t keys)
    {
        zone.emplace(bytes);
        (*zone).publish(file_of("keys.json", keys));
    }
    shared_state& state() { return *zone->operator->(); }
    const book& counted() { return state().counted(); }

    void ends(uint64_t key, std::string_view model, const request_end& end, const token_counts& used,
              bool answered = true, moment now = day_one)
    {
        lease* l = zone->admit(zone->request(key, model)).taken;
        ASSERT_NE(l, nullptr);
        if (answered) {
            l->set_answered();
        }
        state().settle(*l, used, now, end);
    }
    void is_refused(std::string_view key, std::string_view user, std::string_view model, refusal why)
    {
        state().count_refused(state().names_of(key, user, model), why, day_one);
    }

    std::optional<shared_zone> zone;
};

} // namespace

TEST_F(book_of_zone, has_a_series_for_each_key_and_model)
{
    open(1 << 20, 4);
    ends(0, "m", {.is = outcome::ok, .ms = 5}, {7, 1, 10, 2, 3});
    ends(0, "m", {.is = outcome::client_abort, .ms = 6}, {1, 0, 1, 0, 0});
    ends(1, "m", {.is = outcome::cut}, {2, 0, 0, 0, 0});
    ends(1, "n", {}, {4, 0, 0, 0, 0});
    const auto all = by_names(counted());
    EXPECT_EQ(all.size(), 4u); // and the first one
    const sums& s = all.at({"key0", "user0", "m"});
    EXPECT_EQ(s.requests[index_of(outcome::ok)], 1u);
    EXPECT_EQ(s.requests[index_of(outcome::client_abort)], 1u);
    EXPECT_EQ(s.tokens, (token_counts{8, 1, 11, 2, 3}));
    EXPECT_EQ(s.cost, 19u);
    EXPECT_EQ(s.ms, 11u);
    EXPECT_EQ(all.at({"key1", "user0", "n"}).all(), 1u);
    EXPECT_EQ(all.at({"other", "other", "other"}).all(), 0u);
}

TEST_F(book_of_zone, a_model_has_none_before_an_upstream_has_answered_for_it)
{
    open(1 << 20, 4);
    ends(0, "m", {.is = outcome::upstream_error}, {}, false);
    EXPECT_EQ(by_names(counted()).count({"key0", "user0", "m"}), 0u);
    EXPECT_EQ(by_names(counted()).at({"key0", "user0", "other"}).all(), 1u);
    ends(1, "m", {}, {});
    ends(0, "m", {.is = outcome::upstream_error}, {}, false);
    EXPECT_EQ(by_names(counted()).at({"key0", "user0", "m"}).all(), 1u);

    state().name_model("named", day_one);
    ends(0, "named", {.is = outcome::upstream_error}, {}, false);
    EXPECT_EQ(by_names(counted()).at({"key0", "user0", "named"}).all(), 1u);
    ends(0, "", {}, {}, false);
    EXPECT_EQ(by_names(counted()).at({"key0", "user0", ""}).all(), 1u);
}

TEST_F(book_of_zone, names_that_are_the_word_for_others_are_counted_there)
{
    open(1 << 20, 1);
    key_file file = file_of("keys.json", 2);
    file.keys[0].name = file.keys[0].user = "other";
    file.keys[1].name = "other";
    file.keys[1].user.clear();
    zone->publish(file);
    ends(0, "other", {}, {1, 0, 0, 0, 0});
    ends(1, "other", {}, {2, 0, 0, 0, 0});
    const auto all = by_names(counted());
    EXPECT_EQ(all.at({"other", "other", "other"}).tokens.prompt, 1u);
    EXPECT_EQ(all.at({"other", "", "other"}).tokens.prompt, 2u);
}

TEST_F(book_of_zone, a_refused_request_is_counted_with_its_reason)
{
    open(1 << 20, 4);
    is_refused("", "", "", refusal::no_key);
    is_refused("", "", "nobody's", refusal::invalid_key);
    ends(0, "m", {}, {});
    is_refused("key0", "user0", "m", refusal::requests_long);
    is_refused("key0", "user0", "m", refusal::requests);
    is_refused("key1", "user0", "m", refusal::quota);
    const auto all = by_names(counted());
    EXPECT_EQ(all.at({"", "", ""}).requests[index_of(outcome::refused)], 1u);
    EXPECT_EQ(all.at({"", "", "other"}).requests[index_of(outcome::refused)], 1u);
    EXPECT_EQ(all.at({"key0", "user0", "m"}).requests[index_of(outcome::refused)], 2u);
    EXPECT_EQ(all.at({"key1", "user0", "other"}).requests[index_of(outcome::refused)], 1u);
    EXPECT_EQ(refusals_of(counted())[reason_index(refusal::requests)], 2u);
    EXPECT_EQ(refusals_of(counted())[reason_index(refusal::no_key)], 1u);
    EXPECT_EQ(reason_name(reason_index(refusal::quota_reserved)), "quota");
    EXPECT_EQ(reason_name(reason_index(refusal::internal)), "internal");
}

TEST_F(book_of_zone, times_are_in_histograms_of_the_model)
{
    open(1 << 20, 1);
    ends(0, "m",
         {.source = usage_source::upstream,
          .timed = true,
          .has_first = true,
          .ms = 300,
          .first_ms = 81,
          .token_us = 10000,
          .gateway_ns = 1001},
         {});
    ends(0, "m", {.timed = true, .ms = 301}, {});
    ends(0, "m", {.timed = true, .ms = 1920001}, {});
    const book_model& m = counted().models().at(2);
    EXPECT_EQ(m.name(), "m");
    EXPECT_EQ(m.duration.sum, 300u + 301 + 1920001);
    EXPECT_EQ(m.duration.counts.front(), 1u);
    EXPECT_EQ(m.duration.counts[1], 1u);
    EXPECT_EQ(m.duration.counts.back(), 1u);
    EXPECT_EQ(m.first_token.counts[7], 1u);
    EXPECT_EQ(all_of(m.first_token), 1u);
    EXPECT_EQ(m.token.counts[0], 1u);
    EXPECT_EQ(counted().head().gateway.counts[1], 1u);
    EXPECT_EQ(counted().head().sources[static_cast<size_t>(usage_source::upstream)], 1u);
    EXPECT_EQ(counted().head().sources[static_cast<size_t>(usage_source::none)], 2u);
}

TEST_F(book_of_zone, seconds_days_and_months_begin_anew)
{
    open(1 << 20, 1);
    moment now = day_one;
    ends(0, "m", {}, {1, 0, 2, 0, 0}, true, now);
    ends(0, "m", {}, {1, 0, 2, 0, 0}, true, now);
    const auto& series = counted().series().at(1).counts;
    const auto second = [&] {
        return counted().head().rates[static_cast<uint64_t>(now.unix_ms) / 1000 % book_head::seconds];
    };
    EXPECT_EQ(second().requests, 2u);
    EXPECT_EQ(second().completion, 4u);
    EXPECT_EQ(series.day.requests, 2u);
    now.unix_ms += 86400000; // 1 March
    ends(0, "m", {}, {5, 0, 0, 0, 0}, true, now);
    EXPECT_EQ(series.day.requests, 1u);
    EXPECT_EQ(series.day.prompt, 5u);
    EXPECT_EQ(series.month.requests, 1u);
    EXPECT_EQ(second().requests, 1u);
    now.unix_ms -= 86400000; // a clock that steps back
    ends(0, "m", {}, {}, true, now);
    EXPECT_EQ(series.day.requests, 2u);
    EXPECT_EQ(series.tokens.prompt, 7u);
}

// Whatever is asked, in a zone with room for all of it, is what a map says.
TEST_F(book_of_zone, is_what_a_map_would_be)
{
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    open(16 << 20, 40);
    std::map<names, sums> expected;
    expected[{"other", "other", "other"}];
    std::array<uint64_t, refusal_reasons> refused{};
    std::set<std::string> known = {"", "other"};
    for (int i = 0; i < 20000; i++) {
        const uint64_t k = random() % 40;
        const std::string key = "key" + std::to_string(k);
        const std::string user = "user" + std::to_string(k / 2);
        const uint64_t m = random() % 20;
        const std::string model = m == 0   ? ""
                                  : m == 1 ? "other"
                                           : std::string(m * 3, 'a') + std::to_string(m);
        if (random() % 4 == 0) {
            const auto why = static_cast<refusal>(1 + random() % static_cast<uint64_t>(refusal::internal));
            is_refused(key, user, model, why);
            const bool has = expected.count({key, user, model}) != 0;
            expected[{key, user, has || model.empty() ? model : "other"}]
                .requests[index_of(outcome::refused)]++;
            refused[reason_index(why)]++;
            continue;
        }
        const bool answered = random() % 8 != 0;
        if (answered) {
            known.insert(model);
        }
        const auto is = static_cast<outcome>(1 + random() % outcomes);
        const token_counts used{random() % 100 + 10, random() % 10, random() % 100, random() % 10,
                                random() % 3};
        ends(k, model, {.is = is, .ms = 7}, used, answered);
        sums& s = expected[{key, user, known.count(model) ? model : "other"}];
        s.requests[index_of(is)]++;
        s.tokens.prompt += used.prompt;
        s.tokens.cached += used.cached;
        s.tokens.completion += used.completion;
        s.tokens.reasoning += used.reasoning;
        s.tokens.cache_write += used.cache_write;
        s.cost += used.prompt + used.completion;
        s.ms += 7;
    }
    EXPECT_EQ(by_names(counted()), expected);
    EXPECT_EQ(refusals_of(counted()), refused);
}

// 1,000,000 names of one key: what the others have stays theirs.
TEST_F(book_of_zone, random_names_fill_no_more_than_a_part)
{
    open(4 << 20, 20);
    for (uint64_t k = 1; k < 20; k++) {
        ends(k, "good", {}, {1, 0, 1, 0, 0});
    }
    std::mt19937_64 random(20261128);
    char name[24];
    for (int i = 0; i < 1000000; i++) {
        const int n = snprintf(name, sizeof name, "%llx", static_cast<unsigned long long>(random()));
        ends(0, {name, static_cast<size_t>(n)}, {}, {1, 0, 2, 0, 0}, i % 2 == 0);
    }
    const sums all = total_of(counted());
    EXPECT_EQ(all.all(), 1000019u);
    EXPECT_EQ(all.tokens.completion, 2000019u);
    EXPECT_LE(counted().models().used(), 3 + counted().max_models_of_one());
    EXPECT_LE(counted().series().used(), 21 + counted().max_series_of_one());
    ends(1, "new", {}, {3, 0, 3, 0, 0});
    EXPECT_EQ(by_names(counted()).at({"key1", "user0", "new"}).all(), 1u);
    uint64_t times = 0;
    for (uint32_t i = 0; i < counted().models().high_water(); i++) {
        times += all_of(counted().models().at(i).duration);
    }
    EXPECT_EQ(times, 0u);
}

TEST_F(book_of_zone, a_full_one_drops_nothing_and_folds_what_is_gone)
{
    open(512 << 10, 300);
    sums expected;
    std::array<uint64_t, refusal_reasons> refused{};
    // More keys than there is room for clients.
    for (uint64_t k = 0; k < 300; k++) {
        for (const char* model : {"a", "b"}) {
            ends(k, model, {.ms = 3}, {k, 0, 1, 0, 0});
            expected.requests[0]++;
            expected.tokens.prompt += k;
            expected.tokens.completion++;
            expected.cost += k + 1;
            expected.ms += 3;
        }
        is_refused("key" + std::to_string(k), "user" + std::to_string(k / 2), "a", refusal::tokens);
        expected.requests[index_of(outcome::refused)]++;
        refused[reason_index(refusal::tokens)]++;
    }
    EXPECT_EQ(counted().clients().used(), counted().clients().capacity());
    EXPECT_EQ(total_of(counted()), expected);
    EXPECT_GT(by_names(counted()).at({"other", "other", "a"}).all(), 0u);

    // A few keys are left. Those that are gone make room for them.
    for (uint32_t i = 2; i < counted().clients().high_water(); i++) {
        const book_client& c = counted().clients().at(i);
        state().set_gone(i, c.serial, c.key() < "key290");
        state().set_gone(i, c.serial + 1, false);
    }
    for (int round = 0; round < 100; round++) {
        for (uint64_t k = 290; k < 300; k++) {
            ends(k, "a", {.ms = 3}, {k, 0, 1, 0, 0});
            expected.requests[0]++;
            expected.tokens.prompt += k;
            expected.tokens.completion++;
            expected.cost += k + 1;
            expected.ms += 3;
        }
    }
    EXPECT_EQ(total_of(counted()), expected);
    EXPECT_EQ(refusals_of(counted()), refused);
    const auto all = by_names(counted());
    for (int k = 290; k < 300; k++) {
        const sums& s = all.at({"key" + std::to_string(k), "user" + std::to_string(k / 2), "a"});
        EXPECT_GT(s.all(), 50u) << k;
    }
    const auto before = all;
    state().enter();
    state().enter(); // as if the first had been killed
    state().leave();
    EXPECT_EQ(by_names(counted()), before);
}

// A process is killed behind any of its instructions while it settles a request that has to fold a series and
// a client, and to make a client, a model and a series.
TEST_F(book_of_zone, a_process_killed_at_any_instruction_leaves_it_whole)
{
    open(shared_state::min_bytes * 3 / 2, 100);
    const auto key_of = [](uint64_t k) { return "key" + std::to_string(k); };
    const auto user_of = [](uint64_t k) { return "user" + std::to_string(k / 2); };
    uint64_t k = 0;
    for (; counted().series().has_free(); k++) {
        ASSERT_LT(k, 90u);
        // So many that series are full before clients are.
        for (const char* model : {"b", "c", "d", ""}) {
            ends(k, model, {}, {1, 0, 1, 0, 0});
        }
        ends(k, "unknown", {}, {1, 0, 1, 0, 0}, false);
    }
    const uint32_t with_series = counted().clients().high_water();
    // These have no series any more.
    for (; counted().clients().has_free(); k++) {
        ASSERT_LT(k, 90u);
        is_refused(key_of(k), user_of(k), "", refusal::tokens);
    }
    for (uint32_t i = 2; i < counted().clients().high_water(); i++) {
        state().set_gone(i, counted().clients().at(i).serial, true);
    }
    // The next looks come to those without a series.
    for (uint32_t looked = 0; looked + book::max_looks < with_series; looked += book::max_looks) {
        is_refused(key_of(98), user_of(98), "", refusal::tokens);
    }
    ASSERT_FALSE(counted().clients().has_free());
    ASSERT_TRUE(counted().models().has_free());
    const uint32_t owner = state().claim_owner({1, 1});
    lease* l = zone->admit(zone->request(99, "fresh", owner)).taken;
    ASSERT_NE(l, nullptr);
    l->set_answered();
    l->set_progress({3, 0, 4, 0, 0});
    const sums before = total_of(counted());
    const std::array<uint64_t, refusal_reasons> refused = refusals_of(counted());
    const std::string snapshot(static_cast<const char*>(zone->memory()), zone->bytes());

    const auto settle = [&] {
        state().enter();
        state().settle(*l, {3, 0, 4, 0, 0}, day_one,
                       {.source = usage_source::upstream,
                        .timed = true,
                        .has_first = true,
                        .ms = 5,
                        .first_ms = 2,
                        .token_us = 9,
                        .gateway_ns = 77});
        state().leave();
    };
    const auto expect_whole = [&](unsigned stop) {
        const auto locked = [&](auto&& change) {
            state().enter();
            change();
            state().leave();
        };
        locked([] {}); // sets right what was half done, as whoever looks for the dead does first
        state().take_back(owner, {1, 1}, day_one, locked);
        const sums after = total_of(counted());
        ASSERT_EQ(after.all(), before.all() + 1) << stop;
        ASSERT_EQ(after.tokens.prompt, before.tokens.prompt + 3) << stop;
        ASSERT_EQ(after.tokens.completion, before.tokens.completion + 4) << stop;
        ASSERT_EQ(after.cost, before.cost + 7) << stop;
        ASSERT_EQ(refusals_of(counted()), refused) << stop;
        const bool settled = after.requests[index_of(outcome::lost)] == 0;
        ASSERT_EQ(after.ms, before.ms + (settled ? 5 : 0)) << stop;
        ASSERT_EQ(all_of(counted().head().gateway), settled ? 1u : 0u) << stop;
        uint64_t times = 0;
        for (uint32_t i = 0; i < counted().models().high_water(); i++) {
            times += counted().models().is_made(i) ? all_of(counted().models().at(i).first_token) : 0;
        }
        ASSERT_EQ(times, settled ? 1u : 0u) << stop;
        ASSERT_EQ(state().leases().running(), 0u);
        ASSERT_EQ(by_names(counted()).count({"key99", "user49", "fresh"}), 1u) << stop;
    };

    memcpy(zone->memory(), snapshot.data(), snapshot.size());
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        settle();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSTOPPED(status));
    // While it stands still, the zone is as it would be if it were killed here. Several runs of this test see
    // all of its instructions.
    constexpr unsigned step = 31;
    unsigned next = std::random_device{}() % step;
    int stops = 0;
    for (unsigned n = 0; !WIFEXITED(status) && !HasFatalFailure(); n++) {
        if (n == next) {
            next += step;
            stops++;
            const std::string now(static_cast<const char*>(zone->memory()), zone->bytes());
            expect_whole(n);
            memcpy(zone->memory(), now.data(), now.size());
        }
        ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
        waitpid(child, &status, 0);
    }
    if (!WIFEXITED(status)) {
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        return;
    }
    expect_whole(UINT_MAX);
    EXPECT_GT(stops, 20);
}
