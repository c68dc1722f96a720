// What operators say of a key over its file: that it is blocked, and that what it has used is forgotten.

#include "shared_zone.h"

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

using namespace llm;

namespace {

constexpr moment now{1'000'000'000, 1'800'000'000'000};
constexpr uint32_t seconds = 1'800'000'000;

uint32_t blocked_since(shared_zone& zone, std::string_view key)
{
    const uint32_t index = zone->subjects().find(subject_kind::key, key);
    return index != no_index ? zone->subjects().at(index).blocked_since() : 0;
}

// Whoever takes the lock next finds that the one before was killed.
void repair(shared_zone& zone)
{
    zone->enter();
    zone->enter();
    zone->leave();
}

verdict said(shared_zone& zone, uint64_t key)
{
    const admission_request r = zone.request(key);
    const verdict looked = zone->check(r);
    const admission_result admitted = zone.admit(r);
    if (admitted.taken) {
        zone->settle(*admitted.taken, {}, r.now());
    }
    EXPECT_EQ(looked, admitted.said);
    return admitted.said;
}

} // namespace

TEST(block, fails_where_there_is_no_room_for_the_record)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 3));
    // Blocks are records too, and names need not be in a file.
    uint32_t n = 0;
    while (zone->set_blocked("of-no-file-" + std::to_string(n), true, now)) {
        ASSERT_LT(n++, zone->subjects().capacity());
    }
    EXPECT_GT(n, zone->subjects().capacity() / 2);
    EXPECT_FALSE(zone->set_blocked("key2", true, now));
    EXPECT_EQ(zone->subjects().blocked(), n);
    EXPECT_TRUE(zone->set_blocked("of-no-file-0", true, now));
}

TEST(block, holds_over_key_tables_and_kills_until_it_is_taken_back)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 3));
    EXPECT_EQ(said(zone, 0), verdict::ok);
    // One that was used, and one that never was.
    EXPECT_TRUE(zone->set_blocked("key0", true, now));
    EXPECT_TRUE(zone->set_blocked("key1", true, now));
    EXPECT_EQ(zone->subjects().blocked(), 2u);
    const auto is_so = [&](const char* when) {
        SCOPED_TRACE(when);
        EXPECT_EQ(said(zone, 0), verdict::blocked);
        EXPECT_EQ(said(zone, 1), verdict::blocked);
        EXPECT_EQ(said(zone, 2), verdict::ok);
        EXPECT_EQ(zone->subjects().blocked(), 2u);
        EXPECT_EQ(blocked_since(zone, "key0"), seconds);
        EXPECT_EQ(zone->leases().running(), 0u);
    };
    is_so("at once");
    zone.publish(file_of("keys.json", 3));
    is_so("with a new table");
    repair(zone);
    is_so("after a repair");
    EXPECT_TRUE(zone->set_blocked("key0", true, {0, now.unix_ms + 60'000}));
    is_so("said twice");

    EXPECT_TRUE(zone->set_blocked("key0", false, now));
    EXPECT_TRUE(zone->set_blocked("key1", false, now));
    EXPECT_TRUE(zone->set_blocked("key1", false, now));
    EXPECT_TRUE(zone->set_blocked("nobody", false, now));
    EXPECT_EQ(zone->subjects().blocked(), 0u);
    EXPECT_EQ(said(zone, 0), verdict::ok);
    EXPECT_EQ(said(zone, 1), verdict::ok);
    EXPECT_EQ(zone->subjects().find(subject_kind::key, "nobody"), no_index);
}

TEST(block, is_over_all_else_that_is_wrong_with_the_key)
{
    shared_zone zone;
    key_file file = file_of("keys.json", 2);
    file.keys[0].enabled = false;
    file.keys[1].expires = 1;
    zone.publish(file);
    EXPECT_EQ(said(zone, 0), verdict::disabled);
    EXPECT_EQ(said(zone, 1), verdict::expired);
    zone->set_blocked("key0", true, now);
    zone->set_blocked("key1", true, now);
    EXPECT_EQ(said(zone, 0), verdict::blocked);
    EXPECT_EQ(said(zone, 1), verdict::blocked);
    EXPECT_EQ(said(zone, 7), verdict::unknown);
}

TEST(block, outlives_its_key)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 2));
    EXPECT_EQ(said(zone, 1), verdict::ok);
    zone->set_blocked("key1", true, now);
    zone.publish(file_of("keys.json", 1));
    const uint32_t index = zone->subjects().find(subject_kind::key, "key1");
    EXPECT_FALSE(zone->drop_subject(index, subject_kind::key, "key1"));
    zone.publish(file_of("keys.json", 2));
    EXPECT_EQ(said(zone, 1), verdict::blocked);
    zone.publish(file_of("keys.json", 1));
    zone->set_blocked("key1", false, now);
    EXPECT_TRUE(zone->drop_subject(index, subject_kind::key, "key1"));
}

// Records of keys are in no ring, whatever names of clients come and go about them.
TEST(block, is_no_matter_of_names)
{
    shared_zone zone(shared_state::min_bytes);
    zone.publish(file_of("keys.json", 2));
    zone->set_blocked("key1", true, now);
    limits many;
    many.concurrency = 1000;
    const limit_rule rules[] = {{subject_kind::model, many}};
    for (int i = 0; i < 3000; i++) {
        const std::string model = "m" + std::to_string(i);
        admission_request r = zone.request(0, model);
        r.rules = rules;
        lease* l = zone.admit(r).taken;
        ASSERT_NE(l, nullptr);
        zone->settle(*l, {}, r.now());
    }
    EXPECT_EQ(blocked_since(zone, "key1"), seconds);
    EXPECT_EQ(said(zone, 1), verdict::blocked);
    repair(zone);
    EXPECT_EQ(zone->subjects().blocked(), 1u);
}

TEST(block, a_kill_at_any_moment_leaves_it_said_or_not)
{
    for (int round = 0; round < 40; round++) {
        shared_zone zone;
        zone.publish(file_of("keys.json", 4));
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            for (uint32_t i = 0;; i++) {
                zone->enter();
                zone->set_blocked("key" + std::to_string(i & 3), (i >> 2 & 1) == 0, now);
                zone->reset("key1", shared_state::forget::both, now);
                zone->leave();
            }
        }
        usleep(static_cast<useconds_t>(100 + round * 50));
        kill(child, SIGKILL);
        ASSERT_EQ(waitpid(child, nullptr, 0), child);
        zone->enter();
        uint32_t blocked = 0;
        for (uint32_t key = 0; key < 4; key++) {
            const bool is = blocked_since(zone, "key" + std::to_string(key)) != 0;
            blocked += is;
            EXPECT_EQ(said(zone, key), is ? verdict::blocked : verdict::ok);
        }
        EXPECT_EQ(zone->subjects().blocked(), blocked);
        zone->leave();
    }
}

TEST(reset, forgets_what_was_used_and_not_what_was_counted)
{
    shared_zone zone;
    key_file file = file_of("keys.json", 1);
    file.policies[0].limit.requests = {2, 60000};
    file.policies[0].limit.tokens = {100, 60000};
    file.policies[0].limit.quota = 1000;
    file.policies[0].limit.window = quota_window::total;
    zone.publish(file);
    const auto ask = [&](uint64_t tokens) {
        admission_request r = zone.request(0);
        r.now_ns = now.ns;
        r.now_ms = now.unix_ms;
        r.estimate = tokens;
        return zone.admit(r);
    };
    const auto kind_of = [](const admission_result& r) { return r.refused_by.kind; };

    lease* l = ask(10).taken;
    ASSERT_NE(l, nullptr);
    zone->settle(*l, {.prompt = 500, .completion = 700}, now);
    EXPECT_EQ(ask(10).said, verdict::limited);
    // The quota, of which nothing is left, and the debt of the rate.
    zone->reset("key0", shared_state::forget::quotas, now);
    EXPECT_EQ(kind_of(ask(10)), limit_kind::tokens);
    zone->reset("key0", shared_state::forget::rates, now);
    l = ask(10).taken;
    ASSERT_NE(l, nullptr);
    EXPECT_EQ(zone.key("key0").counts.totals.requests, 1u);
    EXPECT_EQ(zone.key("key0").counts.totals.completion, 700u);

    // A request that runs meanwhile gives back nothing that is forgotten, and owes what it used beyond.
    zone->reset("key0", shared_state::forget::both, now);
    EXPECT_EQ(zone.key("key0").in_flight, 1u);
    zone->settle(*l, {.prompt = 1}, now);
    lease* all = ask(100).taken;
    ASSERT_NE(all, nullptr);
    EXPECT_EQ(kind_of(ask(1)), limit_kind::tokens);
    zone->reset("key0", shared_state::forget::both, now);
    zone->settle(*all, {.prompt = 300}, now);
    EXPECT_EQ(kind_of(ask(1)), limit_kind::tokens);
    EXPECT_EQ(zone.key("key0").counts.used_in(quota_window::total, hour_of(now.unix_ms)), 300u);
    zone->reset("nobody", shared_state::forget::both, now);
    EXPECT_EQ(zone->subjects().find(subject_kind::key, "nobody"), no_index);
}
