// What busy turns write, and that it becomes what other turns write at once. All other tests of the state are
// run with a journal as well: LLM_MANY_CHANGES.
#include "state_files.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

constexpr size_t keys = 600;

// All of its keys at once are more than a turn writes to the tables.
class busy : public gateway {
public:
    busy(const std::string& path, uint32_t pid) : gateway(path, pid, 0, keys, 8 << 20)
    {
        options.many_changes = 512;
        start();
    }
};

class state_journal : public testing::Test {
protected:
    state_journal() { gone_masters.clear(); }

    static void use_all(gateway& g, uint64_t n, std::string_view model = "m")
    {
        for (uint64_t i = 0; i < keys; i++) {
            g.use(i, n + i, n, model);
        }
    }
    static void pass(gateway& g, int64_t ms)
    {
        g.now.unix_ms += ms;
        g.now.ns += static_cast<uint64_t>(ms) * 1000000;
    }
    int64_t rows(const char* table) { return number_of(path, std::string("SELECT count(*) FROM ") + table); }

    temp_dir dir;
    std::string path = dir / "state.db";
};

} // namespace

TEST_F(state_journal, many_changes_are_one_row)
{
    busy a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t second = 0; second < 5; second++) {
        use_all(a, second);
        pass(a, 1000);
        ASSERT_TRUE(a.turn().ok());
    }
    EXPECT_EQ(rows("journal"), 5);
    EXPECT_EQ(rows("usage"), 0);
    EXPECT_EQ(rows("counters"), 0);
    // With little to do it is folded: the last word on each.
    a.write();
    EXPECT_EQ(rows("journal"), 0);
    EXPECT_EQ(rows("usage"), static_cast<int64_t>(keys));
    same_sums(counters_by_key(path), a.by_key(), "counters");
    same_sums(usage_by_key(path), a.by_key(), "ledger");
}

TEST_F(state_journal, an_old_one_is_folded_beside_other_work)
{
    busy a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    int64_t most = 0;
    for (uint64_t second = 0; second < 150; second++) {
        use_all(a, second);
        pass(a, 1000);
        ASSERT_TRUE(a.turn().ok());
        most = std::max(most, rows("journal"));
    }
    EXPECT_LE(most, 80);
    EXPECT_EQ(rows("usage"), static_cast<int64_t>(keys));
}

TEST_F(state_journal, nothing_is_lost_with_its_writer)
{
    busy a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t turn = 0; turn < 3; turn++) {
        use_all(a, turn, turn % 2 ? "m" : "n");
        ASSERT_TRUE(a.turn().ok());
    }
    gone_masters.insert(1);
    busy b(path, 2);
    ASSERT_TRUE(b.restore().ok());
    same_sums(b.by_key(), a.by_key(), "restored");
    EXPECT_EQ(rows("journal"), 0);
    same_sums(usage_by_key(path), a.by_key(), "ledger");
}

// Each hour gets what was used in it, whenever it is folded.
TEST_F(state_journal, hours_are_told_apart)
{
    busy a(path, 1);
    a.now.unix_ms = gateway::noon + 3600000 - 2000;
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t second = 0; second < 6; second++) {
        use_all(a, 1);
        ASSERT_TRUE(a.turn().ok());
        pass(a, 1000);
    }
    a.write();
    EXPECT_EQ(rows_of(path, "SELECT hour, sum(requests) FROM usage GROUP BY hour ORDER BY hour"),
              (table_rows{{"1709208000", "1200"}, {"1709211600", "2400"}}));
}

// The same with what was folded in part before it was killed.
TEST_F(state_journal, a_fold_that_was_stopped_is_begun_anew)
{
    busy a(path, 1);
    a.options.turn_ms = 0;
    a.now.unix_ms = gateway::noon + 3600000 - 2000;
    a.start();
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t second = 0; second < 4; second++) {
        use_all(a, 1);
        while (a.turn().more && rows("journal") == 0) {
        }
        pass(a, 1000);
    }
    // Each turn has time for one step.
    for (int step = 0; rows("journal") != 0; step++) {
        ASSERT_LT(step, 3000);
        if (step % 7 == 0) {
            a.start();
        }
        for (int i = 0; i <= step % 23; i++) {
            ASSERT_TRUE(a.turn().ok());
        }
    }
    a.write();
    same_sums(counters_by_key(path), a.by_key(), "counters");
    same_sums(usage_by_key(path), a.by_key(), "ledger");
    EXPECT_EQ(number_of(path, "SELECT count(DISTINCT hour) FROM usage"), 2);
}

TEST_F(state_journal, many_that_ran_are_charged)
{
    busy a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    for (uint64_t i = 0; i < keys; i++) {
        lease* l = a.begin(i);
        ASSERT_NE(l, nullptr);
        l->set_progress({i, 0, 3, 0, 0});
    }
    a.write();
    EXPECT_EQ(rows("running"), 0);
    EXPECT_EQ(rows("running_packed"), 1);
    gone_masters.insert(1);
    busy b(path, 2);
    ASSERT_TRUE(b.restore().ok());
    b.write();
    EXPECT_EQ(rows("running_packed"), 0);
    EXPECT_EQ(total(b.by_key()),
              (sums{keys, keys * (keys - 1) / 2, 3 * keys, keys * (keys - 1) / 2 + 3 * keys}));
    EXPECT_EQ(number_of(path, "SELECT sum(requests_lost) FROM usage"), static_cast<int64_t>(keys));
    // Fewer have rows of their own again.
    lease* l = b.begin(1);
    ASSERT_NE(l, nullptr);
    b.write();
    EXPECT_EQ(rows("running"), 1);
}

TEST_F(state_journal, garbage_in_it_is_damage)
{
    busy a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    use_all(a, 1);
    ASSERT_TRUE(a.turn().ok());
    for (const char* garbage : {"x'05'", "x'ffffffffffffffffff'", "x'0101300000'"}) {
        rows_of(path, std::string("UPDATE journal SET subjects = ") + garbage);
        a.start();
        pass(a, 120000);
        state_result r = a.turn();
        while (r.ok() && r.more) {
            r = a.turn();
        }
        EXPECT_EQ(r.fault, state_fault::damaged) << garbage;
        a.write();
        same_sums(counters_by_key(path), a.by_key(), "counters");
        use_all(a, 1);
        ASSERT_TRUE(a.turn().ok());
    }
}

TEST_F(state_journal, a_file_of_before_it_gets_one)
{
    {
        gateway a(path, 1);
        ASSERT_TRUE(a.restore().ok());
        a.use(1, 10, 20);
        ASSERT_TRUE(a.close().ok());
    }
    rows_of(path, "DROP TABLE journal; DROP TABLE running_packed; PRAGMA user_version = 1");
    gateway b(path, 2);
    const state_result r = b.restore();
    ASSERT_TRUE(r.ok()) << r.text;
    same_sums(b.by_key(), {{"key1", {1, 10, 20, 30}}}, "restored");
    b.write();
    EXPECT_EQ(number_of(path, "PRAGMA user_version"), 2);
    EXPECT_EQ(rows("journal"), 0);
}
