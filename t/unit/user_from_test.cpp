// Users that an application names for which all of them share one key.

#include "shared_zone.h"

#include "core/limit/quota.h"

#include <map>
#include <set>
#include <string>
#include <vector>

using namespace llm;

namespace {

constexpr std::string_view header = "X-User";

class application : public testing::Test {
protected:
    application() : zone(2 << 20)
    {
        file = file_of("keys.json", 6);
        file.policies.resize(2);
        file.policies[1].user_from = header;
        file.keys[0].policy = 1; // key0 and key1 are of user0
        file.keys[4].policy = 1;
        zone.publish(file);
        limits two;
        two.concurrency = 2;
        rules.push_back({subject_kind::user, two, false, false});
    }

    admission_request request(std::string_view user, uint64_t key = 0)
    {
        admission_request r = zone.request(key);
        r.rules = rules;
        r.now_ns = now.ns;
        r.now_ms = now.unix_ms;
        r.user_from = header;
        r.user = user;
        return r;
    }
    lease* let_in(std::string_view user, uint64_t key = 0) { return zone.admit(request(user, key)).taken; }
    void end(lease* l)
    {
        zone->settle(*l, {10, 0, 5, 0, 0}, now,
                     {.is = outcome::ok, .source = usage_source::upstream, .let_in = true});
    }
    std::string user_of(const lease& l) { return std::string(zone->names_of(l).user); }

    // Requests of each client in the book, by key and user.
    std::map<std::pair<std::string, std::string>, uint64_t> clients()
    {
        std::map<std::pair<std::string, std::string>, uint64_t> all;
        const book& b = zone->counted();
        for (uint32_t i = 0; i < b.series().high_water(); i++) {
            if (b.series().is_made(i)) {
                const book_client& c = b.clients().at(b.series().at(i).client);
                for (const uint64_t n : b.series().at(i).counts.requests) {
                    all[{std::string(c.key()), std::string(c.user())}] += n;
                }
            }
        }
        return all;
    }

    shared_zone zone;
    key_file file;
    std::vector<limit_rule> rules;
    moment now{1000000000, 1709164800000};
};

} // namespace

TEST_F(application, is_asked_for_the_user_first)
{
    for (const std::string_view known : {std::string_view(), std::string_view("X-Other")}) {
        admission_request r = request("");
        r.user_from = known;
        const admission_result result = zone.admit(r);
        EXPECT_EQ(result.said, verdict::asks_user);
        EXPECT_EQ(result.taken, nullptr);
    }
    EXPECT_EQ(zone->leases().taken(), 0u);
    admission_request other = request("");
    other.key = digest_of_number(2);
    other.user_from = {};
    EXPECT_EQ(zone.admit(other).said, verdict::ok);
}

TEST_F(application, each_of_its_users_has_a_limit_of_their_own)
{
    ASSERT_TRUE(let_in("ann"));
    ASSERT_TRUE(let_in("ann"));
    EXPECT_FALSE(let_in("ann"));
    ASSERT_TRUE(let_in("ben"));
    // Who it does not name is the key's own user.
    ASSERT_TRUE(let_in(""));
    lease* own = let_in("");
    ASSERT_TRUE(own);
    EXPECT_EQ(user_of(*own), "user0");
    EXPECT_FALSE(let_in(""));
    // Whoever asks by another key of this user is the same one.
    EXPECT_FALSE(let_in("", 1));
}

TEST_F(application, its_users_are_those_of_the_key_file_where_they_have_one_name)
{
    ASSERT_TRUE(let_in("user1"));
    admission_request own = zone.request(2);
    own.rules = rules;
    ASSERT_TRUE(zone.admit(own).taken);
    EXPECT_FALSE(zone.admit(own).taken);
    EXPECT_FALSE(let_in("user1"));
    // Over another application too, and whoever was first.
    ASSERT_TRUE(let_in("cleo", 0));
    ASSERT_TRUE(let_in("cleo", 4));
    EXPECT_FALSE(let_in("cleo", 4));
    own = zone.request(3);
    own.rules = rules;
    EXPECT_FALSE(zone.admit(own).taken);
}

TEST_F(application, the_book_and_the_lease_know_the_user)
{
    lease* ann = let_in("ann");
    ASSERT_TRUE(ann);
    EXPECT_EQ(user_of(*ann), "ann");
    end(ann);
    lease* own = let_in("");
    end(own);
    end(let_in("ann"));
    const auto all = clients();
    EXPECT_EQ(all.at({"key0", "ann"}), 2u);
    EXPECT_EQ(all.at({"key0", "user0"}), 1u);
    zone->count_refused(zone->names_of("key0", "zoe", "m", true), refusal::requests, now);
    EXPECT_EQ(clients().at({"key0", "zoe"}), 1u);
}

TEST_F(application, however_many_it_names_all_are_counted_and_others_have_room)
{
    constexpr uint64_t many = 20000;
    for (uint64_t i = 0; i < many; i++) {
        lease* l = let_in("user-" + std::to_string(i));
        ASSERT_TRUE(l) << i;
        end(l);
    }
    for (uint64_t i = 0; i < many; i++) {
        zone->count_refused(zone->names_of("key4", "x" + std::to_string(i), "m", true), refusal::requests,
                            now);
    }
    const book& b = zone->counted();
    auto all = clients();
    std::map<std::string, uint64_t> requests, users;
    for (const auto& [names, n] : all) {
        requests[names.first] += n;
        users[names.first]++;
    }
    EXPECT_EQ(requests["key0"], many);
    EXPECT_EQ(requests["key4"], many);
    EXPECT_GT((all[{"key0", "other"}]), 0u);
    EXPECT_LE(users["key0"], b.max_users_of_one() + 1);
    EXPECT_LE(users["key4"], b.max_users_of_one() + 1);
    EXPECT_GT(users["key4"], b.max_users_of_one() / 2);
    // Neither another key nor its limits notice.
    admission_request own = zone.request(2);
    own.rules = rules;
    const admission_result result = zone.admit(own);
    ASSERT_TRUE(result.taken);
    EXPECT_FALSE(result.shares);
    end(result.taken);
    EXPECT_EQ(clients().at({"key2", "user1"}), 1u);
    // Whoever repairs the zone finds the same.
    const auto before = clients();
    zone->enter(); // as if a process had been killed in between
    zone->enter();
    zone->leave();
    EXPECT_EQ(clients(), before);
    for (uint64_t i = 0; i < 100; i++) {
        zone->count_refused(zone->names_of("key4", "y" + std::to_string(i), "m", true), refusal::requests,
                            now);
    }
    users.clear();
    for (const auto& [names, n] : clients()) {
        users[names.first]++;
    }
    EXPECT_LE(users["key4"], b.max_users_of_one() + 1);
}

TEST_F(application, users_that_find_no_room_share_a_limit)
{
    limits day;
    day.quota = 1000;
    day.window = quota_window::day;
    rules = {{subject_kind::user, day, false, false}};
    // None is at rest before the day is over.
    std::set<std::string> shown;
    bool shares = false;
    for (uint64_t i = 0; i < 20000 && !shares; i++) {
        const admission_result result = zone.admit(request("user-" + std::to_string(i)));
        ASSERT_TRUE(result.taken);
        shares = result.shares;
        if (shares) {
            EXPECT_EQ(user_of(*result.taken), "other");
        }
        end(result.taken);
    }
    EXPECT_TRUE(shares);
    uint64_t let = 0;
    for (uint64_t i = 0; i < 200; i++) {
        lease* l = let_in("late-" + std::to_string(i));
        let += l != nullptr;
        if (l) {
            end(l);
        }
    }
    EXPECT_LT(let, 100u);
    EXPECT_TRUE(let_in("user-0"));
    EXPECT_TRUE(let_in(""));
}

TEST_F(application, its_users_outlive_the_zone)
{
    end(let_in("ann"));
    end(let_in("ann"));
    shared_zone next(2 << 20, {3, 4});
    next.publish(file);
    subject_export all = zone->begin_export(0);
    const auto lock = [](auto&& f) { f(); };
    size_t users = 0;
    for (auto some = all.next(now, lock); !some.empty(); some = all.next(now, lock)) {
        for (const subject_state& s : some) {
            users += s.kind == subject_kind::named_user;
            EXPECT_TRUE(next->import(s, now));
        }
    }
    EXPECT_EQ(users, 1u);
    const uint32_t ann = next->subjects().find_user("ann");
    ASSERT_NE(ann, no_index);
    EXPECT_EQ(next->subjects().at(ann).counts.totals.requests, 2u);
}
