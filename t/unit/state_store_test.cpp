// What is kept comes back, and nothing is counted twice, whoever is killed.
#include "state_files.h"

#include <csignal>
#include <random>
#include <sys/wait.h>

using namespace llm;

namespace {

class state_store_test : public testing::Test {
protected:
    state_store_test() { gone_masters.clear(); }

    temp_dir dir;
    std::string path = dir / "state.db";
};

} // namespace

TEST_F(state_store_test, a_restart_forgives_nothing)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t i = 0; i < 200; i++) {
        a.use(i % 8, 10 + i, i, i % 3 ? "m" : "n");
    }
    a.write();
    same_sums(a.by_key(), counters_by_key(path), "written");
    a.use(3, 5, 6);
    const sums_by_name before = a.by_key();
    ASSERT_TRUE(a.close().ok());

    gateway b(path, 2);
    b.now.ns = 5 * gateway::second;
    const state_result r = b.restore();
    ASSERT_TRUE(r.ok()) << r.text;
    same_sums(b.by_key(), before, "restored");
    same_sums(usage_by_key(path), before, "ledger");
    b.use(1, 1, 1);
    b.write();
    same_sums(counters_by_key(path), b.by_key(), "later");
    same_sums(usage_by_key(path), b.by_key(), "ledger later");
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM zones"), 2);
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM zones WHERE closed IS NULL"), 1);
}

TEST_F(state_store_test, an_idle_gateway_writes_nothing)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 1, 1);
    a.write();
    const int64_t turns = number_of(path, "SELECT turns FROM zones");
    for (int i = 0; i < 5; i++) {
        a.write();
    }
    EXPECT_EQ(number_of(path, "SELECT turns FROM zones"), turns);
}

TEST_F(state_store_test, another_keeper_goes_on_where_one_was)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    for (int i = 0; i < 20; i++) {
        a.use(static_cast<uint64_t>(i % 4), 3, 4);
        a.start();
        a.write();
    }
    same_sums(counters_by_key(path), a.by_key(), "counters");
    same_sums(usage_by_key(path), a.by_key(), "ledger");
}

// A reload has two of them for a moment.
TEST_F(state_store_test, two_keepers_at_once)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    std::unique_ptr<state_store> other = std::make_unique<state_store>(a.options);
    for (int i = 0; i < 50; i++) {
        a.use(static_cast<uint64_t>(i % 4), 3, 4);
        a.write();
        std::swap(other, a.store);
    }
    same_sums(counters_by_key(path), a.by_key(), "counters");
    same_sums(usage_by_key(path), a.by_key(), "ledger");
}

TEST_F(state_store_test, what_ran_when_all_was_killed_is_charged)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 10, 20);
    lease* l = a.begin(0);
    lease* m = a.begin(1, "n");
    l->set_progress({100, 50, 200, 7, 3});
    m->set_progress({1, 0, 2, 0, 0});
    a.write();
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM running"), 2);
    EXPECT_EQ(number_of(path, "SELECT sum(cost) FROM running"), 303);
    // What comes after the last turn is not known any more.
    l->set_progress({100, 50, 250, 7, 3});

    gone_masters.insert(1);
    gateway b(path, 2);
    ASSERT_TRUE(b.restore().ok());
    b.write();
    same_sums(b.by_key(), {{"key0", {2, 110, 220, 330}}, {"key1", {1, 1, 2, 3}}}, "restored");
    same_sums(counters_by_key(path), b.by_key(), "counters");
    same_sums(usage_by_key(path), b.by_key(), "ledger");
    EXPECT_EQ(number_of(path, "SELECT sum(requests_lost) FROM usage"), 2);
    EXPECT_EQ(number_of(path, "SELECT sum(requests_lost) FROM usage WHERE user = 'user0' AND model = 'm'"),
              1);
    EXPECT_EQ(number_of(path, "SELECT requests FROM counters WHERE kind = 'zone'"), 3);
    EXPECT_EQ(number_of(path, "SELECT quota_day FROM counters WHERE kind = 'model' AND name = 'm'"), 330);
    EXPECT_EQ(number_of(path, "SELECT quota_day FROM counters WHERE kind = 'user' AND name = 'user0'"), 333);
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM running"), 0);
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM carry"), 0);
    EXPECT_EQ(number_of(path, "SELECT lost FROM zones WHERE id = 1"), 1);

    // The first one's workers may still be there; what they do now was charged.
    a.end(l, {100, 50, 300, 7, 3});
    EXPECT_EQ(a.turn().fault, state_fault::closed);
    same_sums(usage_by_key(path), b.by_key(), "ledger after all");
}

TEST_F(state_store_test, one_that_ends_between_two_turns_is_counted_once)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    lease* l = a.begin(0);
    l->set_progress({100, 0, 200, 0, 0});
    a.write();
    a.end(l, {100, 0, 201, 0, 0});
    a.write();
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM running"), 0);
    gone_masters.insert(1);
    gateway b(path, 2);
    ASSERT_TRUE(b.restore().ok());
    same_sums(b.by_key(), {{"key0", {1, 100, 201, 301}}}, "restored");
    same_sums(usage_by_key(path), b.by_key(), "ledger");
}

TEST_F(state_store_test, what_is_left_at_the_end_is_charged)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    lease* l = a.begin(0);
    l->set_progress({100, 0, 200, 0, 0});
    ASSERT_TRUE(a.close().ok());
    EXPECT_EQ(number_of(path, "SELECT requests_lost FROM usage"), 1);
    gateway b(path, 2);
    ASSERT_TRUE(b.restore().ok());
    same_sums(b.by_key(), {{"key0", {1, 100, 200, 300}}}, "restored");
}

// Names that find no room share a record, and are counted once however often all is restored.
TEST_F(state_store_test, names_without_room_are_counted_once)
{
    {
        gateway a(path, 1);
        ASSERT_TRUE(a.restore().ok());
        a.use(0, 10, 20);
        ASSERT_TRUE(a.close().ok());
    }
    const std::string columns =
        " owner, requests, prompt, cached, completion, reasoning, cache_write, quota_hour,"
        " quota_hour_at, quota_day, quota_day_at, quota_week, quota_week_at, quota_month,"
        " quota_month_at, quota_total, quota_total_at, debts, learned, proved, blocked, "
        "updated";
    for (const char* kind : {"model", "named_user"}) {
        rows_of(path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                      " INSERT INTO counters(kind, name,"
                          + columns + ") SELECT '" + kind + "', 'name' || i, 'key0', 1" + columns.substr(16)
                          + " FROM n, counters WHERE kind = 'key' AND name = 'key0'");
    }
    // An application's user that the key file has by now.
    rows_of(path, "UPDATE counters SET name = 'user0' WHERE kind = 'named_user' AND name = 'name1'");
    const auto count = [&](const char* kinds) {
        return number_of(path,
                         std::string("SELECT sum(requests) FROM counters WHERE kind IN (") + kinds + ")");
    };
    for (uint32_t pid = 2; pid < 5; pid++) {
        gateway b(path, pid);
        ASSERT_TRUE(b.restore().ok());
        EXPECT_EQ(count("'named_user', 'other_users', 'user'"), 2001) << pid;
        EXPECT_EQ(count("'model', 'other_models'"), 2001) << pid;
        EXPECT_LT(number_of(path, "SELECT count(*) FROM counters"), 2000);
        ASSERT_TRUE(b.close().ok());
    }
}

// Nothing was restored before the first request: the turns do it, and add.
TEST_F(state_store_test, late_is_as_good_as_in_time)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t i = 0; i < 8; i++) {
        a.use(i, 10, i);
    }
    ASSERT_TRUE(a.close().ok());
    gateway b(path, 2);
    b.use(1, 100, 100);
    b.write();
    sums_by_name all = a.by_key();
    all["key1"].add({1, 100, 100, 200});
    same_sums(b.by_key(), all, "zone");
    same_sums(counters_by_key(path), all, "counters");
    same_sums(usage_by_key(path), all, "ledger");
}

// With so little time that nearly every slice is a turn of its own.
TEST_F(state_store_test, a_turn_may_be_as_short_as_one_likes)
{
    constexpr size_t keys = 1000;
    gateway a(path, 1, 0, keys, 8 << 20);
    a.options.turn_ms = 0;
    a.start();
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t i = 0; i < 3 * keys; i++) {
        a.use(i % keys, 10 + i, i);
        if (i % 100 == 0) {
            ASSERT_TRUE(a.turn().ok());
        }
    }
    ASSERT_TRUE(a.close().ok());
    gateway b(path, 2, 0, keys, 8 << 20);
    b.options.turn_ms = 0;
    b.start();
    b.use(7, 1, 1);
    int turns = 0;
    while (b.turn().more) {
        turns++;
    }
    EXPECT_GT(turns, 10);
    b.write();
    sums_by_name all = a.by_key();
    all["key7"].add({1, 1, 1, 2});
    same_sums(b.by_key(), all, "zone");
    same_sums(counters_by_key(path), all, "counters");
    EXPECT_EQ(total(usage_by_key(path)), total(all));
}

// The restoring process is killed at any instruction, and another goes on.
TEST_F(state_store_test, a_restore_that_was_killed_goes_on)
{
    constexpr size_t keys = 2000;
    gateway a(path, 1, 0, keys, 8 << 20);
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t i = 0; i < keys; i++) {
        a.use(i, 10 + i, i);
    }
    ASSERT_TRUE(a.close().ok());
    std::mt19937 random(1);
    for (uint32_t round = 0; round < 10; round++) {
        gateway b(path, 2 + round, 0, keys, 8 << 20);
        for (int kills = 0; kills < 5; kills++) {
            const pid_t child = fork();
            if (child == 0) {
                b.start();
                b.restore();
                _exit(0);
            }
            usleep(static_cast<useconds_t>(random() % 12000));
            kill(child, SIGKILL);
            waitpid(child, nullptr, 0);
            b.free_lock_of(child);
        }
        b.start();
        ASSERT_TRUE(b.restore().ok());
        same_sums(b.by_key(), a.by_key(), "restored");
        ASSERT_TRUE(b.close().ok());
        same_sums(counters_by_key(path), a.by_key(), "closed");
    }
}

// The keeper is killed at any instruction while requests go on, and is replaced.
TEST_F(state_store_test, a_keeper_may_be_killed_at_any_instruction)
{
    gateway a(path, 1);
    a.options.turn_ms = 1;
    a.start();
    ASSERT_TRUE(a.restore().ok());
    a.store.reset();
    std::mt19937 random(2);
    for (int kills = 0; kills < 60; kills++) {
        const pid_t child = fork();
        if (child == 0) {
            a.start();
            for (;;) {
                a.turn();
            }
        }
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 8000);
        do {
            a.use(random() % 8, random() % 100, random() % 100, random() % 2 ? "m" : "n");
        } while (std::chrono::steady_clock::now() < end);
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        a.free_lock_of(child);
    }
    a.start();
    a.write();
    same_sums(counters_by_key(path), a.by_key(), "counters");
    same_sums(usage_by_key(path), a.by_key(), "ledger");
}

// All are killed: what is lost is what came after the last turn, and nothing is counted twice.
TEST_F(state_store_test, all_may_be_killed_at_any_instruction)
{
    std::mt19937 random(3);
    sums_by_name least; // of what was written for sure
    for (uint32_t round = 1; round <= 50; round++) {
        gateway a(path, round);
        a.options.turn_ms = 2;
        a.start();
        ASSERT_TRUE(a.restore().ok());
        const sums_by_name restored = a.by_key();
        for (const auto& [name, s] : least) {
            EXPECT_GE(restored.at(name).completion, s.completion) << name << " round " << round;
        }
        a.store.reset();
        std::vector<lease*> running;
        const pid_t child = fork();
        if (child == 0) {
            a.start();
            for (;;) {
                a.turn();
            }
        }
        // The truth: what was settled, and the progress of what runs.
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(3000 + random() % 8000);
        do {
            if (running.size() < 20) {
                running.push_back(a.begin(random() % 8));
                ASSERT_NE(running.back(), nullptr);
            }
            const size_t i = random() % running.size();
            token_counts used = running[i]->progress();
            used.prompt = 10;
            used.completion += random() % 10;
            running[i]->set_progress(used);
            if (random() % 8 == 0) {
                a.end(running[i], used);
                running.erase(running.begin() + static_cast<long>(i));
            }
        } while (std::chrono::steady_clock::now() < end);
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        a.free_lock_of(child);
        sums_by_name truth = a.by_key();
        for (const lease* l : running) {
            const token_counts used = l->progress();
            const std::string name(a.zone->subjects().at(l->key()).name());
            truth[name].add({1, used.prompt, used.completion, used.prompt + used.completion});
        }
        // Before any other is there: what the file and what ran make together is never above the truth.
        gone_masters.insert(round);
        gateway b(path, 1000 + round);
        ASSERT_TRUE(b.restore().ok());
        for (const auto& [name, s] : b.by_key()) {
            EXPECT_LE(s.requests, truth[name].requests) << name << " round " << round;
            EXPECT_LE(s.prompt, truth[name].prompt) << name << " round " << round;
            EXPECT_LE(s.completion, truth[name].completion) << name << " round " << round;
            EXPECT_LE(s.quota, truth[name].quota) << name << " round " << round;
        }
        ASSERT_TRUE(b.close().ok());
        least = b.by_key();
        same_sums(counters_by_key(path), b.by_key(), "counters");
    }
}
