// Names of models and addresses, which clients choose: whatever one key names, others are let in, and nobody
// gets rid of what was counted.

#include "shared_zone.h"

#include <array>
#include <csignal>
#include <map>
#include <random>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace llm;

namespace {

constexpr uint64_t second = 1000000000;

limits quota_of_a_day(uint64_t n)
{
    limits l;
    l.quota = n;
    l.window = quota_window::day;
    return l;
}

limits concurrency(int64_t n)
{
    limits l;
    l.concurrency = n;
    return l;
}

// A small zone with many keys, a clock, and rules for models and addresses.
class names : public testing::Test {
protected:
    static constexpr size_t n_keys = 40;

    names() : zone(512 << 10)
    {
        key_file file = file_of("keys.json", n_keys);
        for (key_record& k : file.keys) {
            k.user.clear();
        }
        zone.publish(file);
    }

    admission_request request(uint64_t key, std::string_view model)
    {
        admission_request r = zone.request(key, model);
        r.now_ns = now.ns;
        r.now_ms = now.unix_ms;
        r.rules = rules;
        return r;
    }
    admission_result admit(uint64_t key, std::string_view model) { return zone.admit(request(key, model)); }
    admission_result admit_from(uint64_t key, uint64_t network)
    {
        admission_request r = request(key, "m");
        std::array<uint8_t, 16> address{0x20, 1};
        memcpy(address.data() + 2, &network, 6);
        r.address = address;
        return zone.admit(r);
    }
    void settle(lease* l, uint64_t completion = 10, bool answered = true)
    {
        if (answered) {
            l->set_answered();
        }
        zone->settle(*l, {0, 0, completion, 0}, now);
    }
    // One request after the other. Says how many are let in.
    size_t flood(uint64_t key, size_t n, const std::string& prefix, bool answered = true)
    {
        size_t in = 0;
        for (size_t i = 0; i < n; i++) {
            admission_result r = admit(key, prefix + std::to_string(i));
            EXPECT_NE(r.said, verdict::zone_full);
            if (r.taken) {
                settle(r.taken, answered ? 10 : 0, answered);
                in++;
            }
        }
        return in;
    }
    void repair()
    {
        zone->enter();
        zone->enter();
        zone->leave();
    }
    const subject* model(std::string_view name)
    {
        uint32_t i = zone->subjects().find(subject_kind::model, name);
        return i == no_index ? nullptr : &zone->subjects().at(i);
    }

    shared_zone zone;
    std::vector<limit_rule> rules;
    moment now{100 * second, 1709164800000};
};

// Each key has in its rings the names that are its own, each once, and counts them.
void check_rings(shared_zone& zone)
{
    auto& all = const_cast<subject_table&>(zone->subjects());
    std::map<uint32_t, uint32_t> owned;
    uint32_t used = 0;
    for (uint32_t i = 0; i < all.high_water(); i++) {
        const subject& s = all.at(i);
        used += all.valid(i);
        if (all.valid(i) && chosen_with_key(s.kind) && s.owner != no_index) {
            ASSERT_EQ(all.at(s.owner).kind, subject_kind::key);
            owned[s.owner]++;
        }
    }
    ASSERT_EQ(used, all.used());
    for (uint32_t i = 0; i < all.high_water(); i++) {
        if (!all.valid(i) || all.at(i).kind != subject_kind::key) {
            continue;
        }
        subject& key = all.at(i);
        ASSERT_EQ(key.names(), owned[i]);
        uint32_t found = 0;
        for (bool proved : {false, true}) {
            const uint32_t first = key.names_of_key(proved);
            for (uint32_t at = first; at != no_index;) {
                subject& s = all.at(at);
                ASSERT_EQ(s.owner, i);
                ASSERT_EQ(s.proved, proved);
                ASSERT_LE(++found, owned[i]);
                ASSERT_EQ(all.at(s.next_name()).previous_name(), at);
                at = s.next_name() == first ? no_index : s.next_name();
            }
        }
        ASSERT_EQ(found, owned[i]);
    }
}

} // namespace

TEST_F(names, of_one_key_leave_room_for_all_others)
{
    rules = {{subject_kind::model, quota_of_a_day(1000000)}};
    EXPECT_EQ(flood(0, 5000, "random"), 5000u);
    for (uint64_t key = 1; key < 10; key++) {
        for (int i = 0; i < 10; i++) {
            std::string name = "of " + std::to_string(key) + ", " + std::to_string(i);
            admission_result r = admit(key, name);
            ASSERT_EQ(r.said, verdict::ok);
            EXPECT_FALSE(r.shares);
            settle(r.taken);
            EXPECT_NE(model(name), nullptr);
        }
    }
    check_rings(zone);
}

TEST_F(names, addresses_of_one_key_leave_room_for_all_others)
{
    rules = {{subject_kind::address, quota_of_a_day(1000000)}};
    for (uint64_t i = 0; i < 5000; i++) {
        admission_result r = admit_from(0, i);
        ASSERT_EQ(r.said, verdict::ok);
        EXPECT_EQ(r.shares, i >= zone->subjects().max_names());
        settle(r.taken);
    }
    for (uint64_t i = 0; i < 10; i++) {
        admission_result r = admit_from(1, 100000 + i);
        ASSERT_EQ(r.said, verdict::ok);
        EXPECT_FALSE(r.shares);
        settle(r.taken);
    }
}

TEST_F(names, of_all_keys_together_fill_the_room_and_nobody_is_refused_for_want_of_it)
{
    rules = {{subject_kind::model, quota_of_a_day(1000000)},
             {subject_kind::address, quota_of_a_day(1000000)}};
    const uint32_t room = zone->subjects().capacity() / 2;
    for (uint64_t key = 0; key < n_keys - 1; key++) {
        flood(key, 100, std::to_string(key) + " names ");
    }
    EXPECT_LE(zone->subjects().used(), room + 3 * n_keys);
    EXPECT_GE(zone->subjects().used(), room);
    // The last one has only what it shares, and its own limits there.
    EXPECT_TRUE(admit(n_keys - 1, "new").shares);
    EXPECT_TRUE(admit(n_keys - 1, "newer").shares);
    check_rings(zone);
}

TEST_F(names, beyond_the_budget_share_limits_that_hold_for_all_of_them)
{
    rules = {{subject_kind::model, quota_of_a_day(100)}};
    const size_t own = zone->subjects().max_names();
    // Ten tokens each: ten requests more pass.
    EXPECT_EQ(flood(0, own + 50, "x"), own + 10);
    EXPECT_EQ(flood(0, 5000, "y"), 0u);
    EXPECT_EQ(admit(0, "z").refused_by.scope, subject_kind::model);
    repair();
    check_rings(zone);
    EXPECT_EQ(flood(0, 50, "z"), 0u);
    // What has a record goes on as before: 9 requests more each.
    for (int i = 0; i < 9; i++) {
        EXPECT_EQ(flood(0, own, "x"), own);
    }
    EXPECT_EQ(flood(0, own, "x"), 0u);
    // So do others, and the next day.
    EXPECT_EQ(flood(1, 10, "of another"), 10u);
    now.unix_ms += 86400000;
    EXPECT_EQ(flood(0, own, "y"), own);
}

TEST_F(names, that_are_new_are_let_in_exactly_as_often_as_the_limit_says)
{
    rules = {{subject_kind::model, concurrency(10)}};
    auto crowd = [&](uint64_t key, const std::string& name) {
        std::vector<lease*> in;
        for (int i = 0; i < 100; i++) {
            if (lease* l = admit(key, name).taken) {
                in.push_back(l);
            }
        }
        return in;
    };
    std::vector<lease*> first = crowd(0, "first");
    EXPECT_EQ(first.size(), 10u);
    rules.push_back({subject_kind::model, quota_of_a_day(1000000)});
    flood(0, 1000, "random");
    std::vector<lease*> second_one = crowd(0, "second");
    EXPECT_EQ(second_one.size(), 10u) << "all of them in what is shared";
    EXPECT_EQ(crowd(0, "third").size(), 0u) << "which holds for others too";
    EXPECT_EQ(crowd(1, "third").size(), 10u) << "but not of another key";
    // While they run, no record of its own lets in more of them, even if one is free again.
    now.unix_ms += 86400000;
    EXPECT_EQ(crowd(0, "second").size(), 0u);
    for (lease* l : second_one) {
        settle(l);
    }
    EXPECT_EQ(crowd(0, "first").size(), 0u);
    EXPECT_EQ(crowd(0, "second").size(), 10u);
}

TEST_F(names, that_no_upstream_has_answered_for_are_used_again_first)
{
    rules = {{subject_kind::model, concurrency(10)}};
    const size_t own = zone->subjects().max_names();
    flood(0, own / 2, "good");
    EXPECT_EQ(flood(0, 2000, "bad", false), 2000u);
    check_rings(zone);
    for (size_t i = 0; i < own / 2; i++) {
        EXPECT_NE(model("good" + std::to_string(i)), nullptr);
    }
    // The same where all have filled the room.
    for (uint64_t key = 1; key < 15; key++) {
        flood(key, 10, "good of " + std::to_string(key) + " ");
        flood(key, 100, "bad of " + std::to_string(key) + " ", false);
    }
    flood(16, 12, "good of 16 ");
    for (uint64_t key = 20; key < n_keys; key++) {
        flood(key, 50, "bad of " + std::to_string(key) + " ", false);
    }
    repair();
    check_rings(zone);
    for (uint64_t key = 1; key < 15; key++) {
        for (int i = 0; i < 10; i++) {
            EXPECT_NE(model("good of " + std::to_string(key) + " " + std::to_string(i)), nullptr);
        }
    }
}

TEST_F(names, leave_the_room_that_keys_need)
{
    const uint32_t all = zone->subjects().capacity();
    // So many keys that there is room for two names beside them and the zone.
    key_file file = file_of("keys.json", all - 3);
    for (key_record& k : file.keys) {
        k.user.clear();
    }
    zone->set_needed(all - 3);
    rules = {{subject_kind::model, quota_of_a_day(1000)}, {subject_kind::zone, concurrency(1000)}};
    // Their table would be too large for this zone: they come and go by the hundred.
    for (uint32_t first = 0; first < all - 3; first += 100) {
        key_file some = file;
        const uint32_t end = std::min(first + 100, all - 3);
        some.keys.assign(file.keys.begin() + first, file.keys.begin() + end);
        zone.publish(some);
        for (uint32_t i = first; i < end; i++) {
            admission_result r = admit(i, "a model of " + std::to_string(i));
            ASSERT_EQ(r.said, i < 103 ? verdict::ok : r.said);
            ASSERT_NE(r.said, verdict::zone_full) << i;
            if (r.taken) {
                settle(r.taken, 1);
            }
        }
    }
    check_rings(zone);
}

TEST_F(names, are_told_of_once_a_minute)
{
    rules = {{subject_kind::model, quota_of_a_day(1000000)}};
    size_t told = 0;
    for (int i = 0; i < 300; i++) {
        admission_result r = admit(0, "name " + std::to_string(i));
        told += r.tell_shares;
        settle(r.taken);
        if (i < 150) {
            ASSERT_EQ(told, r.shares ? 1u : 0u);
        }
        if (i == 200) {
            now.ns += 60 * second;
        }
    }
    EXPECT_EQ(told, 2u);
}

TEST_F(names, of_a_key_that_is_gone_are_nobodys)
{
    rules = {{subject_kind::model, quota_of_a_day(1000000)}};
    flood(0, 10, "a");
    uint32_t key = zone->subjects().find(subject_kind::key, "key0");
    ASSERT_TRUE(zone->drop_subject(key, subject_kind::key, "key0"));
    ASSERT_EQ(zone->subjects().find(subject_kind::key, "key0"), no_index);
    check_rings(zone);
    repair();
    check_rings(zone);
    EXPECT_EQ(model("a3")->owner, no_index);
    // The numbers that the key table remembers are the caller's to care for.
    zone.publish(file_of("keys.json", 3));
    flood(1, 5, "b");
    EXPECT_EQ(flood(1, 10, "a"), 10u);
    check_rings(zone);
}

// Keys that each have models of their own: none gets beyond the quota of a model, or of all that it shares,
// by whatever it names, and everybody is let in who has something left.
TEST_F(names, reset_no_counter_whatever_is_named)
{
    std::mt19937_64 random(7);
    constexpr uint64_t quota = 100;
    rules = {{subject_kind::model, quota_of_a_day(quota)}};
    std::map<std::pair<uint64_t, std::string>, uint64_t> used;
    std::vector<std::pair<lease*, std::pair<uint64_t, std::string>>> running;
    size_t in = 0, refused = 0, in_shared = 0;
    for (int i = 0; i < 200000; i++) {
        const uint64_t key = random() % 20;
        // The first keys name much.
        std::string name = std::to_string(key) + " " + std::to_string(random() % (key < 12 ? 500 : 5));
        if (running.size() < 20 && random() % 2) {
            admission_result r = admit(key, name);
            ASSERT_NE(r.said, verdict::zone_full);
            refused += r.taken == nullptr;
            in += r.taken != nullptr;
            in_shared += r.taken && r.shares;
            if (r.taken) {
                const uint64_t before = used[{key, name}];
                ASSERT_LT(before, quota) << name;
                running.push_back({r.taken, {key, name}});
            } else if (key >= 12) {
                ASSERT_GE((used[{key, name}]), quota) << "nobody pays for others";
            }
        } else if (!running.empty()) {
            std::swap(running[random() % running.size()], running.back());
            auto& [l, who] = running.back();
            const bool answered = random() % 3;
            const uint64_t tokens = answered ? random() % 40 : 0;
            used[who] += tokens;
            settle(l, tokens, answered);
            running.pop_back();
        }
        if (random() % 5000 == 0 && running.empty()) {
            repair();
        }
        if (random() % 20000 == 0) {
            while (!running.empty()) {
                settle(running.back().first, 0);
                running.pop_back();
            }
            now.unix_ms += 86400000;
            used.clear();
        }
        if (i % 1000 == 0) {
            check_rings(zone);
        }
    }
    EXPECT_GT(in, 5000u);
    EXPECT_GT(refused, 1000u);
    EXPECT_GT(in_shared, 500u);
}

// A process is killed at a random instruction while it names whatever comes to its mind.
TEST_F(names, are_whole_after_a_kill_in_the_middle_of_a_flood)
{
    limits l = quota_of_a_day(1000000);
    l.concurrency = 1000;
    l.requests = {1000, 1000};
    l.burst = 100000;
    rules = {{subject_kind::model, l}, {subject_kind::address, l}};
    std::mt19937_64 random(11);
    for (int round = 0; round < 200; round++) {
        pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            uint32_t owner = zone->claim_owner({static_cast<uint32_t>(getpid()), 0});
            std::vector<lease*> held;
            for (uint64_t i = 0;; i++) {
                const uint64_t key = random() % n_keys;
                std::string name = "m" + std::to_string(random() % 3000);
                admission_request r = request(key, name);
                r.owner = owner;
                const auto address = static_cast<uint32_t>(random() % 3000);
                r.address = {reinterpret_cast<const uint8_t*>(&address), 4};
                zone->enter();
                if (held.size() < 20 && i % 3 != 0) {
                    if (lease* taken = zone.admit(r).taken) {
                        held.push_back(taken);
                    }
                } else if (!held.empty()) {
                    if (i % 2) {
                        held.back()->set_answered();
                    }
                    zone->settle(*held.back(), {0, 0, i % 2, 0}, now);
                    held.pop_back();
                }
                zone->leave();
                now.ns += i % 100 ? 0 : 10000000;
                now.unix_ms += i % 1000 ? 0 : 86400000;
            }
        }
        usleep(static_cast<useconds_t>(random() % 2000));
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);

        uint32_t owner = no_index;
        auto locked = [&](auto&& change) {
            zone->enter();
            change();
            zone->leave();
        };
        locked([&] { owner = zone->claim_owner({static_cast<uint32_t>(child), 0}); });
        zone->take_back(owner, {static_cast<uint32_t>(child), 0}, now, locked);
        ASSERT_EQ(zone->leases().running(), 0u);
        for (uint32_t i = 0; i < zone->subjects().high_water(); i++) {
            ASSERT_EQ(zone->subjects().at(i).in_flight, 0u);
        }
        check_rings(zone);
        ASSERT_FALSE(HasFatalFailure());
    }
    EXPECT_GT(zone->subjects().used(), zone->subjects().capacity() / 4);
    EXPECT_LE(zone->subjects().used(), zone->subjects().capacity() / 2 + 3 * n_keys);
}
