// Two zones with one file: a binary upgrade, a reload that changes the size. What both have counted is whole
// in the end, whoever ends first and how.
#include "state_files.h"

#include <csignal>
#include <random>
#include <sys/wait.h>

using namespace llm;

namespace {

class state_handover : public testing::Test {
protected:
    state_handover() { gone_masters.clear(); }

    temp_dir dir;
    std::string path = dir / "state.db";
};

sums_by_name both(const sums_by_name& a, const sums_by_name& b)
{
    sums_by_name all = a;
    for (const auto& [name, s] : b) {
        all[name].add(s);
    }
    return all;
}

} // namespace

TEST_F(state_handover, what_the_old_one_counts_reaches_the_new_one)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 10, 20);
    a.use(1, 1, 2);
    lease* l = a.begin(0);
    a.write();

    gateway b(path, 2, 1);
    ASSERT_TRUE(b.restore().ok());
    same_sums(b.by_key(), a.by_key(), "taken over");
    b.use(0, 1000, 2000);
    a.use(2, 5, 5, "another");
    a.end(l, {100, 0, 200, 0, 0});
    a.write();
    b.write();
    same_sums(b.by_key(), {{"key0", {3, 1110, 2220, 3330}}, {"key1", {1, 1, 2, 3}}, {"key2", {1, 5, 5, 10}}},
              "new");
    EXPECT_EQ(b.zone.user("user0").counts.totals.completion, 2222u);
    // It is not counted twice.
    a.write();
    b.write();
    same_sums(counters_by_key(path), b.by_key(), "counters");
    same_sums(usage_by_key(path), b.by_key(), "ledger");
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM carry"), 0);

    a.use(2, 7, 7);
    ASSERT_TRUE(a.close().ok());
    b.write();
    EXPECT_EQ(b.by_key()["key2"].completion, 12u);
    for (int i = 0; i < 5; i++) {
        b.use(3, 1, 1);
        b.write();
    }
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM base"), 0);
    ASSERT_TRUE(b.close().ok());
    gateway c(path, 3);
    ASSERT_TRUE(c.restore().ok());
    same_sums(c.by_key(), b.by_key(), "next");
}

TEST_F(state_handover, the_old_one_is_killed)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    lease* l = a.begin(0);
    l->set_progress({10, 0, 20, 0, 0});
    a.write();
    gateway b(path, 2, 1);
    ASSERT_TRUE(b.restore().ok());
    l->set_progress({10, 0, 40, 0, 0});
    a.use(1, 1, 1);
    a.write();
    b.write();
    EXPECT_EQ(b.by_key()["key0"].requests, 0u);
    gone_masters.insert(1);
    b.write();
    same_sums(b.by_key(), {{"key0", {1, 10, 40, 50}}, {"key1", {1, 1, 1, 2}}}, "new");
    same_sums(counters_by_key(path), b.by_key(), "counters");
    same_sums(usage_by_key(path), b.by_key(), "ledger");
    EXPECT_EQ(number_of(path, "SELECT sum(requests_lost) FROM usage"), 1);
    a.end(l, {10, 0, 50, 0, 0});
    EXPECT_EQ(a.turn().fault, state_fault::closed);
}

// The last worker closes, then comes the keeper's last turn, and the master closes once more: that is no
// fault, and changes nothing.
TEST_F(state_handover, closed_twice)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 10, 20);
    a.write();
    gateway b(path, 2, 1);
    ASSERT_TRUE(b.restore().ok());
    a.use(0, 1, 2);
    ASSERT_TRUE(a.close().ok());
    b.write();
    const auto sums = b.by_key();
    EXPECT_EQ(a.turn().text, "");
    EXPECT_EQ(a.close().text, "");
    b.write();
    same_sums(b.by_key(), sums, "new");
    same_sums(counters_by_key(path), sums, "counters");
    same_sums(usage_by_key(path), sums, "ledger");
}

// The upgrade is taken back: the new one ends first, and the old one goes on.
TEST_F(state_handover, the_new_one_ends_first)
{
    for (const bool is_killed : {false, true}) {
        const std::string file = dir / (is_killed ? "killed" : "closed");
        gone_masters.clear();
        gateway a(file, 1);
        ASSERT_TRUE(a.restore().ok());
        a.use(0, 10, 20);
        a.write();
        gateway b(file, 2, 1);
        ASSERT_TRUE(b.restore().ok());
        b.use(0, 100, 200);
        a.use(1, 1, 1);
        a.write();
        b.write();
        a.use(1, 1, 1);
        a.write();
        if (is_killed) {
            gone_masters.insert(2);
        } else {
            ASSERT_TRUE(b.close().ok());
        }
        a.use(0, 1, 1);
        a.write();
        same_sums(counters_by_key(file), {{"key0", {3, 111, 221, 332}}, {"key1", {2, 2, 2, 4}}}, "counters");
        same_sums(usage_by_key(file), counters_by_key(file), "ledger");
        ASSERT_TRUE(a.close().ok());
        gateway c(file, 3);
        ASSERT_TRUE(c.restore().ok());
        same_sums(c.by_key(), {{"key0", {3, 111, 221, 332}}, {"key1", {2, 2, 2, 4}}}, "next");
    }
}

TEST_F(state_handover, two_independent_ones_with_one_file)
{
    gateway a(path, 101);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 10, 20);
    a.write();
    gateway b(path, 202);
    const state_result r = b.restore();
    EXPECT_EQ(r.fault, state_fault::in_use);
    EXPECT_NE(r.text.find("101"), std::string::npos) << r.text;
    EXPECT_NE(r.text.find(path), std::string::npos) << r.text;
    b.use(1, 1, 1);
    EXPECT_EQ(b.turn().fault, state_fault::in_use);
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM zones"), 1);
    // With the first one gone, it goes on.
    ASSERT_TRUE(a.close().ok());
    b.write();
    same_sums(b.by_key(), both(a.by_key(), {{"key1", {1, 1, 1, 2}}}), "second");
    same_sums(counters_by_key(path), b.by_key(), "counters");
    same_sums(usage_by_key(path), b.by_key(), "ledger");
}

// A reload that changes the size twice, while the first workers still drain; both of its zones are of one
// master.
TEST_F(state_handover, a_chain_of_three)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 1, 1);
    a.write();
    gateway b(path, 2, 1);
    ASSERT_TRUE(b.restore().ok());
    b.use(0, 2, 2);
    a.use(0, 4, 4);
    a.write();
    // The second has not come to import what the first one carries to it.
    gateway c(path, 3, 2);
    ASSERT_TRUE(c.restore().ok());
    a.use(0, 8, 8);
    a.write();
    b.write();
    c.write();
    a.use(0, 16, 16);
    a.write();
    ASSERT_TRUE(b.close().ok());
    c.write();
    ASSERT_TRUE(a.close().ok());
    c.write();
    c.write();
    same_sums(c.by_key(), {{"key0", {5, 31, 31, 62}}}, "third");
    same_sums(counters_by_key(path), c.by_key(), "counters");
    same_sums(usage_by_key(path), c.by_key(), "ledger");
}

// The new zone's keeper is killed at any instruction while the old one counts.
TEST_F(state_handover, killed_while_it_imports)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    gateway b(path, 2, 1);
    ASSERT_TRUE(b.restore().ok());
    b.store.reset();
    std::mt19937 random(4);
    for (int kills = 0; kills < 50; kills++) {
        const pid_t child = fork();
        if (child == 0) {
            b.start();
            for (;;) {
                b.turn();
            }
        }
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 10000);
        do {
            a.use(random() % 8, random() % 100, random() % 100);
            b.use(random() % 8, random() % 100, random() % 100);
            a.turn();
        } while (std::chrono::steady_clock::now() < end);
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        b.free_lock_of(child);
    }
    const sums_by_name own = usage_by_key(path, "zone = 2");
    b.start();
    a.write();
    b.write();
    same_sums(usage_by_key(path), b.by_key(), "ledger");
    same_sums(counters_by_key(path), b.by_key(), "counters");
    same_sums(usage_by_key(path, "zone = 1"), a.by_key(), "the first one's");
}

// What an operator says in the new one holds, whatever the old one still has.
TEST_F(state_handover, a_block_that_was_taken_back)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    lease* l = a.begin(0);
    a([&] { a.zone->set_blocked("key0", true, a.now); });
    a.write();
    gateway b(path, 2, 1);
    ASSERT_TRUE(b.restore().ok());
    EXPECT_NE(b.zone.key("key0").blocked_since(), 0u);
    b([&] { b.zone->set_blocked("key0", false, b.now); });
    a.end(l, {1, 0, 1, 0, 0});
    a.write();
    b.write();
    EXPECT_EQ(b.by_key()["key0"].requests, 1u);
    EXPECT_EQ(b.zone.key("key0").blocked_since(), 0u);
    EXPECT_EQ(number_of(path, "SELECT sum(blocked) FROM counters"), 0);
}

// Rates: what the old one lets in is owed in the new one.
TEST_F(state_handover, debts_are_owed_once)
{
    gateway a(path, 1);
    for (limit_rule& rule : a.rules) {
        limits l;
        l.requests = {10, 60000};
        rule = {subject_kind::key, l};
    }
    ASSERT_TRUE(a.restore().ok());
    for (int i = 0; i < 4; i++) {
        a.use(0, 1, 1);
    }
    a.write();
    gateway b(path, 2, 1);
    b.rules = a.rules;
    ASSERT_TRUE(b.restore().ok());
    for (int i = 0; i < 3; i++) {
        a.use(0, 1, 1);
        a.now = {a.now.ns + gateway::second / 2, a.now.unix_ms + 500};
        b.now = a.now;
        a.write();
        b.write();
    }
    // Seven of ten were taken, a quarter of one has flowed off.
    for (int i = 0; i < 3; i++) {
        EXPECT_NE(b.begin(0), nullptr) << i;
    }
    EXPECT_EQ(b.begin(0), nullptr);
}

// Any order of anything, with sums beside it.
TEST_F(state_handover, anything_in_any_order)
{
    for (unsigned seed = 1; seed <= 10; seed++) {
        const std::string file = dir / std::to_string(seed);
        gone_masters.clear();
        std::mt19937 random(seed);
        uint32_t pid = 1;
        sums_by_name truth;
        std::vector<std::unique_ptr<gateway>> zones;
        std::vector<std::vector<lease*>> leases;
        const auto open = [&] {
            const uint32_t parent = zones.empty() ? 0 : zones[random() % zones.size()]->options.by.pid;
            zones.push_back(std::make_unique<gateway>(file, pid++, parent));
            leases.emplace_back();
            if (random() % 3 != 0) {
                const state_result r = zones.back()->restore();
                ASSERT_TRUE(r.ok()) << r.text;
            } else {
                ASSERT_TRUE(zones.back()->turn().ok());
            }
        };
        open();
        for (int step = 0; step < 300; step++) {
            const size_t i = random() % zones.size();
            gateway& g = *zones[i];
            switch (random() % 12) {
            case 0:
                if (zones.size() < 3 && random() % 3 == 0) {
                    // All there is to be restored has to be before the next one.
                    zones.back()->write();
                    open();
                }
                break;
            case 1:
                if (zones.size() > 1 && random() % 4 == 0) {
                    for (lease* l : leases[i]) {
                        const std::string name(g.zone->subjects().at(l->key()).name());
                        g.end(l, {1, 0, 1, 0, 0});
                        truth[name].add({1, 1, 1, 2});
                    }
                    leases[i].clear();
                    const state_result r = g.close();
                    ASSERT_TRUE(r.ok()) << r.text;
                    zones.erase(zones.begin() + static_cast<long>(i));
                    leases.erase(leases.begin() + static_cast<long>(i));
                }
                break;
            case 2:
                g.start();
                break;
            case 3:
            case 4:
            case 5: {
                const state_result r = g.turn();
                ASSERT_TRUE(r.ok()) << r.text;
                break;
            }
            case 6:
                if (leases[i].size() < 10) {
                    leases[i].push_back(g.begin(random() % 8));
                }
                break;
            case 7:
                if (!leases[i].empty()) {
                    lease* l = leases[i].back();
                    leases[i].pop_back();
                    const uint64_t n = random() % 50;
                    const std::string name(g.zone->subjects().at(l->key()).name());
                    g.end(l, {n, 0, n, 0, 0});
                    truth[name].add({1, n, n, 2 * n});
                }
                break;
            default: {
                const uint64_t key = random() % 8;
                const uint64_t n = random() % 50;
                g.use(key, n, 2 * n, random() % 2 ? "m" : "n");
                truth["key" + std::to_string(key)].add({1, n, 2 * n, 3 * n});
            }
            }
        }
        for (int i = 0; i < 3; i++) {
            for (const auto& g : zones) {
                g->write();
            }
        }
        same_sums(counters_by_key(file), truth, "counters");
        same_sums(usage_by_key(file), truth, "ledger");
        while (!zones.empty()) {
            for (lease* l : leases.back()) {
                const std::string name(zones.back()->zone->subjects().at(l->key()).name());
                zones.back()->end(l, {});
                truth[name].add({1, 0, 0, 0});
            }
            leases.pop_back();
            ASSERT_TRUE(zones.back()->close().ok());
            zones.pop_back();
        }
        gateway last(file, pid);
        ASSERT_TRUE(last.restore().ok());
        same_sums(last.by_key(), truth, "restored");
        same_sums(usage_by_key(file), truth, "ledger in the end");
        if (HasFailure()) {
            FAIL() << "seed " << seed;
        }
    }
}
