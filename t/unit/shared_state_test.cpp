#include "shared_zone.h"

#include <csignal>
#include <random>
#include <set>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace llm;

namespace {

// Without other processes the lock is only its bookkeeping.
template <class F>
void locked(shared_zone& zone, F&& f)
{
    zone->enter();
    f();
    zone->leave();
}

} // namespace

TEST(shared_state, divides_the_zone_as_the_documentation_says)
{
    shared_zone zone(32 << 20);
    EXPECT_GT(zone->leases().capacity(), 7000u);
    EXPECT_GT(zone->subjects().capacity(), 34000u);
    EXPECT_GT(zone->key_area_bytes(), size_t{4000000});
    shared_zone tiny(shared_state::min_bytes);
    EXPECT_GT(tiny->leases().capacity(), 45u);
    EXPECT_GT(tiny->subjects().capacity(), 200u);
}

TEST(shared_state, the_size_it_asks_for_is_enough_and_not_much_more)
{
    for (size_t keys : {1000, 20000}) {
        key_file file = file_of("keys.json", keys);
        const key_file* files[] = {&file};
        size_t bytes = shared_state::bytes_for(key_table::bytes(files), 2 * keys);
        shared_zone zone(bytes + 4096);
        EXPECT_GE(zone->key_area_bytes(), key_table::bytes(files));
        EXPECT_GE(zone->subjects().capacity(), 2 * keys);
        EXPECT_LT(bytes, keys * 2000 + 120000);
    }
}

TEST(shared_state, a_subject_that_a_lease_names_is_not_dropped)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 1));
    lease* l = zone.admit(zone.request(0)).taken;
    EXPECT_FALSE(zone->drop_subject(l->key(), subject_kind::key, "key0"));
    EXPECT_EQ(zone->subjects().used(), 2u);
    uint32_t number = l->key();
    zone->settle(*l, {}, {});
    EXPECT_TRUE(zone->drop_subject(number, subject_kind::key, "key0"));
    EXPECT_EQ(zone->subjects().used(), 1u);
    EXPECT_EQ(zone->subjects().find(subject_kind::key, "key0"), no_index);
}

TEST(shared_state, a_subject_is_not_dropped_for_another_that_had_its_number)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 4));
    const auto settled = [&](uint64_t key) {
        lease* l = zone.admit(zone.request(key)).taken;
        const uint32_t number = l->key();
        zone->settle(*l, {}, {});
        return number;
    };
    const uint32_t number = settled(0);
    ASSERT_TRUE(zone->drop_subject(number, subject_kind::key, "key0"));
    EXPECT_FALSE(zone->drop_subject(number, subject_kind::key, "key0"));
    ASSERT_EQ(settled(1), number);
    EXPECT_FALSE(zone->drop_subject(number, subject_kind::key, "key0"));
    EXPECT_FALSE(zone->drop_subject(number, subject_kind::user, "key1"));
    EXPECT_EQ(zone.key("key1").counts.totals.requests, 1u);
    EXPECT_TRUE(zone->drop_subject(number, subject_kind::key, "key1"));
}

TEST(shared_state, a_request_is_charged_to_its_key_and_its_user)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 4));

    admission_result a = zone.admit(zone.request(0));
    admission_result b = zone.admit(zone.request(1));
    ASSERT_EQ(a.said, verdict::ok);
    ASSERT_EQ(b.said, verdict::ok);
    EXPECT_EQ(zone.user("user0").in_flight, 2u);
    EXPECT_EQ(a.taken->model(), "m");
    zone->settle(*a.taken, {7, 1, 10, 2}, {});
    zone->settle(*b.taken, {1, 0, 2, 0}, {});

    EXPECT_EQ(zone.key("key0").counts.totals.requests, 1u);
    EXPECT_EQ(zone.key("key0").counts.totals.prompt, 7u);
    EXPECT_EQ(zone.key("key0").counts.totals.cached, 1u);
    EXPECT_EQ(zone.key("key0").counts.totals.completion, 10u);
    EXPECT_EQ(zone.key("key0").counts.totals.reasoning, 2u);
    EXPECT_EQ(zone.user("user0").counts.totals.prompt, 8u);
    EXPECT_EQ(zone.user("user0").counts.totals.requests, 2u);
    EXPECT_EQ(zone.user("user0").in_flight, 0u);
    EXPECT_EQ(zone->leases().running(), 0u);
}

TEST(shared_state, what_is_refused_leaves_no_trace)
{
    shared_zone zone;
    EXPECT_EQ(zone.admit(zone.request(0)).said, verdict::no_such_file);
    key_file file = file_of("keys.json", 2);
    file.keys[0].enabled = false;
    file.policies.push_back({{}, {"good"}, {}});
    file.keys[1].policy = 1;
    zone.publish(file);

    EXPECT_EQ(zone.admit(zone.request(0)).said, verdict::disabled);
    EXPECT_EQ(zone.admit(zone.request(1, "bad")).said, verdict::model);
    EXPECT_EQ(zone.admit(zone.request(9)).said, verdict::unknown);
    EXPECT_EQ(zone->leases().running(), 0u);
    EXPECT_EQ(zone->subjects().used(), 0u);
    EXPECT_EQ(zone.admit(zone.request(1, "good")).said, verdict::ok);
}

TEST(shared_state, every_model_that_is_named_has_to_be_allowed)
{
    shared_zone zone;
    key_file file = file_of("keys.json", 2);
    file.policies.push_back({{}, {"good*"}, {}});
    file.keys[1].policy = 1;
    zone.publish(file);

    auto said = [&](auto&& change) {
        admission_request request = zone.request(1, "good");
        change(request);
        const verdict of_limited = zone->check(request);
        request.key = zone.request(0).key;
        EXPECT_EQ(zone->check(request), verdict::ok);
        return of_limited;
    };
    using request = admission_request;
    EXPECT_EQ(said([](request&) {}), verdict::ok);
    EXPECT_EQ(said([](request& r) { r.model = "bad"; }), verdict::model);
    EXPECT_EQ(said([](request& r) { r.unclear_model = true; }), verdict::model);
    EXPECT_EQ(said([](request& r) { r.more_models = {"good2\0good3\0", 12}; }), verdict::ok);
    EXPECT_EQ(said([](request& r) { r.more_models = {"good2\0bad\0", 10}; }), verdict::model);
    EXPECT_EQ(said([](request& r) { r.named_model = false, r.needs_model = true; }), verdict::model);
    EXPECT_EQ(said([](request& r) { r.named_model = false; }), verdict::ok);
    EXPECT_EQ(said([](request& r) { r.named_model = false, r.more_models = {"bad\0", 4}; }), verdict::model);
}

TEST(shared_state, counters_outlive_a_new_key_file_and_a_removed_key_is_refused)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 3));
    admission_result running = zone.admit(zone.request(2));
    zone->settle(*zone.admit(zone.request(0)).taken, {5, 0, 5, 0}, {});

    zone.publish(file_of("keys.json", 2));
    EXPECT_EQ(zone.admit(zone.request(2)).said, verdict::unknown);
    zone->settle(*running.taken, {1, 0, 1, 0}, {});
    EXPECT_EQ(zone.key("key2").counts.totals.prompt, 1u);
    zone->settle(*zone.admit(zone.request(0)).taken, {5, 0, 5, 0}, {});
    EXPECT_EQ(zone.key("key0").counts.totals.prompt, 10u);

    zone.publish(file_of("keys.json", 3));
    zone->settle(*zone.admit(zone.request(2)).taken, {1, 0, 1, 0}, {});
    EXPECT_EQ(zone.key("key2").counts.totals.prompt, 2u);
}

TEST(shared_state, a_full_zone_refuses_and_recovers)
{
    shared_zone zone(shared_state::min_bytes);
    zone.publish(file_of("keys.json", 1));
    std::vector<lease*> taken;
    admission_result result;
    while ((result = zone.admit(zone.request(0))).said == verdict::ok) {
        taken.push_back(result.taken);
    }
    EXPECT_EQ(result.said, verdict::zone_full);
    EXPECT_EQ(taken.size(), zone->leases().capacity());
    zone->settle(*taken.back(), {}, {});
    EXPECT_EQ(zone.admit(zone.request(0)).said, verdict::ok);
}

TEST(shared_state, a_full_part_has_nothing_free)
{
    shared_zone zone(shared_state::min_bytes);
    const uint32_t n = zone->subjects().capacity();
    key_file file = file_of("keys.json", n + 1);
    for (key_record& k : file.keys) {
        k.user.clear();
    }
    // Their table would be too large for this zone: they come and go by the hundred.
    for (uint32_t first = 0; first <= n; first += 100) {
        key_file some = file;
        some.keys.assign(file.keys.begin() + first, file.keys.begin() + std::min(first + 100, n + 1));
        zone.publish(some);
        for (uint32_t i = first; i < std::min(first + 100, n + 1); i++) {
            admission_result result = zone.admit(zone.request(i));
            ASSERT_EQ(result.said, i < n ? verdict::ok : verdict::zone_full);
            if (result.taken) {
                zone->settle(*result.taken, {}, {});
            }
        }
    }
    EXPECT_EQ(zone.part("counters").free, 0u);
    EXPECT_EQ(zone.part("requests").used, 0u);

    file.keys.resize(1);
    zone.publish(file);
    while (zone.admit(zone.request(0)).taken) {
    }
    EXPECT_EQ(zone.part("requests").free, 0u);
}

TEST(shared_state, owners_are_claimed_once_and_run_out)
{
    shared_zone zone;
    EXPECT_EQ(zone->claim_owner({1, 5}), 0u);
    EXPECT_EQ(zone->claim_owner({1, 5}), 0u);
    EXPECT_EQ(zone->claim_owner({1, 6}), 1u);
    for (uint32_t i = 2; i < shared_state::max_owners; i++) {
        EXPECT_EQ(zone->claim_owner({100 + i, 0}), i);
    }
    EXPECT_EQ(zone->claim_owner({9, 9}), no_index);
}

TEST(shared_state, a_dead_owner_is_settled_from_its_progress_and_others_are_left_alone)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 2));
    uint32_t dead = zone->claim_owner({1, 1});
    uint32_t alive = zone->claim_owner({2, 2});
    for (uint64_t i = 0; i < 10; i++) {
        zone.admit(zone.request(0, "m", dead)).taken->set_progress({7, 2, i, 1, 3});
    }
    lease* other = zone.admit(zone.request(1, "m", alive)).taken;

    zone->take_back(dead, {1, 1}, {}, [&](auto&& change) { locked(zone, change); });
    EXPECT_EQ(zone.key("key0").counts.totals.prompt, 70u);
    EXPECT_EQ(zone.key("key0").counts.totals.completion, 45u);
    EXPECT_EQ(zone.key("key0").counts.totals.cached, 20u);
    EXPECT_EQ(zone.key("key0").counts.totals.reasoning, 10u);
    EXPECT_EQ(zone.key("key0").counts.totals.cache_write, 30u);
    EXPECT_EQ(zone.key("key0").counts.totals.requests, 10u);
    EXPECT_EQ(zone.key("key0").in_flight, 0u);
    EXPECT_EQ(zone.key("key1").in_flight, 1u);
    EXPECT_EQ(zone->leases().running(), 1u);
    EXPECT_EQ(zone->owners()[dead].pid, 0u);
    zone->settle(*other, {}, {});
}

TEST(shared_state, two_that_take_back_the_same_owner_charge_once)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 1));
    uint32_t dead = zone->claim_owner({1, 1});
    for (int i = 0; i < 4; i++) {
        zone.admit(zone.request(0, "m", dead)).taken->set_progress({1, 0, 1, 0});
    }
    // The second comes in while the first waits for the lock for its first lease, and by then a new process
    // has the number and a lease.
    bool nested = false;
    zone->take_back(dead, {1, 1}, {}, [&](auto&& change) {
        if (!nested) {
            nested = true;
            zone->take_back(dead, {1, 1}, {}, [&](auto&& inner) { locked(zone, inner); });
            EXPECT_EQ(zone->claim_owner({3, 3}), dead);
            EXPECT_EQ(zone.admit(zone.request(0, "m", dead)).said, verdict::ok);
        }
        locked(zone, change);
    });
    EXPECT_EQ(zone.key("key0").counts.totals.requests, 4u);
    EXPECT_EQ(zone->leases().running(), 1u);
    EXPECT_EQ(zone->owners()[dead].pid, 3u);
}

TEST(shared_state, who_was_found_dead_before_another_took_it_back_is_not_mistaken_for_its_successor)
{
    shared_zone zone;
    zone.publish(file_of("keys.json", 1));
    uint32_t number = zone->claim_owner({1, 1});
    zone->take_back(number, {1, 1}, {}, [&](auto&& change) { locked(zone, change); });
    ASSERT_EQ(zone->claim_owner({2, 2}), number);
    lease* l = zone.admit(zone.request(0, "m", number)).taken;

    zone->take_back(number, {1, 1}, {}, [&](auto&& change) { locked(zone, change); });
    EXPECT_EQ(zone->leases().running(), 1u);
    EXPECT_EQ(zone->owners()[number].pid, 2u);
    zone->settle(*l, {}, {});
    EXPECT_EQ(zone.key("key0").counts.totals.requests, 1u);
}

// A process is killed at a random instruction while it takes, extends and settles leases, again and again.
// Whatever was half done, all counts agree afterwards, and the limits with them: the clock stands still, so
// that a limit's state tells all that was ever taken from it.
TEST(shared_state, a_process_killed_anywhere_leaves_nothing_behind)
{
    constexpr moment now{1000000000, 1709164800000};
    shared_zone zone;
    zone.publish(file_of("keys.json", 4));
    std::mt19937_64 random(20240611);

    limits l;
    l.requests = {1000000, 1000};
    l.burst = 1000000000;
    l.tokens = {1000000, 1000};
    l.token_burst = 1000000000;
    l.quota = 1000000000;
    l.window = quota_window::total;
    l.concurrency = 1000;
    const limit_rule rules[] = {{subject_kind::key, l},
                                {subject_kind::user, l},
                                {subject_kind::model, l},
                                {subject_kind::address, l},
                                {subject_kind::zone, l}};
    uint64_t total = 0;

    for (int round = 0; round < 300; round++) {
        pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            uint32_t owner = zone->claim_owner({static_cast<uint32_t>(getpid()), 0});
            std::vector<lease*> held;
            for (uint64_t i = 0;; i++) {
                admission_request request = zone.request(i % 4, "model", owner);
                request.now_ns = now.ns;
                request.now_ms = now.unix_ms;
                request.rules = rules;
                request.estimate = i % 7;
                if (i % 2 == 0) {
                    zone->prepare(request);
                }
                zone->enter();
                if (held.size() < 20 && i % 3 != 0) {
                    held.push_back(zone.admit(request).taken);
                } else if (!held.empty()) {
                    size_t at = i % held.size();
                    zone->extend(*held[at], request, i % 3);
                    held[at]->set_progress({1, 0, 1, 0});
                    zone->settle(*held[at], {2, 0, 2, 0}, now);
                    held.erase(held.begin() + static_cast<ptrdiff_t>(at));
                }
                zone->leave();
            }
        }
        usleep(static_cast<useconds_t>(random() % 2000));
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);

        uint32_t owner = no_index;
        locked(zone, [&] { owner = zone->claim_owner({static_cast<uint32_t>(child), 0}); });
        zone->take_back(owner, {static_cast<uint32_t>(child), 0}, now,
                        [&](auto&& change) { locked(zone, change); });

        ASSERT_EQ(zone->leases().running(), 0u);
        usage_totals sums[7];
        for (uint32_t i = 0; i < zone->subjects().high_water(); i++) {
            const subject& s = zone->subjects().at(i);
            ASSERT_EQ(s.in_flight, 0u);
            ASSERT_EQ(s.reserved, 0u);
            const usage_totals& t = s.counts.totals;
            if (t.requests != 0) {
                ASSERT_EQ(s.rates.tat_of(rate_of_requests, label_of(1000)), now.ns + t.requests * 1000);
                ASSERT_EQ(s.rates.tat_of(rate_of_tokens, label_of(1000)),
                          now.ns + (t.prompt + t.completion) * 1000);
                ASSERT_EQ(s.counts.used[index_of(quota_window::total)], t.prompt + t.completion);
            }
            usage_totals& sum = sums[static_cast<size_t>(s.kind.load())];
            sum.requests += t.requests;
            sum.prompt += t.prompt;
            sum.completion += t.completion;
        }
        for (auto kind :
             {subject_kind::user, subject_kind::model, subject_kind::address, subject_kind::zone}) {
            ASSERT_EQ(sums[static_cast<size_t>(kind)].requests, sums[1].requests);
            ASSERT_EQ(sums[static_cast<size_t>(kind)].prompt, sums[1].prompt);
            ASSERT_EQ(sums[static_cast<size_t>(kind)].completion, sums[1].completion);
        }
        book_counts counted{};
        const auto& series = zone->counted().series();
        for (uint32_t i = 0; i < series.high_water(); i++) {
            if (series.is_made(i)) {
                const book_counts& c = series.at(i).counts;
                for (size_t o = 0; o < outcomes; o++) {
                    counted.requests[0] += c.requests[o];
                }
                counted.tokens.prompt += c.tokens.prompt;
                counted.tokens.completion += c.tokens.completion;
            }
        }
        ASSERT_EQ(counted.requests[0], sums[1].requests);
        ASSERT_EQ(counted.tokens.prompt, sums[1].prompt);
        ASSERT_EQ(counted.tokens.completion, sums[1].completion);
        ASSERT_LE(zone->subjects().used(), 9u);
        ASSERT_GE(sums[1].requests, total);
        total = sums[1].requests;
    }
    EXPECT_GT(total, 1000u);
}

TEST(shared_state, check_and_admit_estimates_where_there_are_limits)
{
    shared_zone zone;
    limits few;
    few.tokens = {1000000, 60000};
    few.failures = {2, 3600000};
    const limit_rule rules[] = {{subject_kind::key, few}};
    zone.publish(file_of("keys.json", 2));
    zone->learned().learn("key0", "m", {400, 0, 1}, {100, 50, 0});
    shared_key* key = nullptr;
    const request_size size{400, 0, 1};

    auto request = zone.request(0);
    request.now_ns = 1000000000;
    admission_result r = zone->check_and_admit(request, &size, key);
    ASSERT_EQ(r.said, verdict::ok);
    EXPECT_EQ(key->name.view(), "key0");
    EXPECT_EQ(request.estimate, 0u) << "without limits";
    zone->settle(*r.taken, {}, {});

    request.rules = rules;
    r = zone->check_and_admit(request, &size, key);
    ASSERT_EQ(r.said, verdict::ok);
    EXPECT_EQ(request.estimate, 150u);
    EXPECT_EQ(r.report.tokens_remaining, 1000000 - 150u);
    zone->settle(*r.taken, {}, {});

    // A wrong key is a failure, each time once.
    request.key = digest_of_number(9);
    for (verdict said : {verdict::unknown, verdict::unknown, verdict::limited}) {
        EXPECT_EQ(zone->check_and_admit(request, &size, key).said, said);
        EXPECT_EQ(key, nullptr);
    }
    EXPECT_EQ(zone->leases().running(), 0u);
}

TEST(shared_state, owners_are_as_many_as_there_were)
{
    shared_zone zone;
    EXPECT_EQ(zone->owners().size(), 0u);
    uint32_t first = zone->claim_owner({1, 10});
    EXPECT_EQ(zone->claim_owner({2, 20}), first + 1);
    EXPECT_EQ(zone->claim_owner({1, 10}), first);
    EXPECT_EQ(zone->owners().size(), 2u);
    zone->take_back(first, {1, 10}, {}, [](auto&& change) { change(); });
    EXPECT_EQ(zone->owners().size(), 2u);
    EXPECT_EQ(zone->claim_owner({3, 30}), first);
}

// Whoever has no key can make addresses with wrong keys as many as he has addresses.
TEST(subject_table, failed_auths_leave_room_for_those_who_have_a_key)
{
    shared_zone zone(shared_state::min_bytes);
    limits few;
    few.failures = {1, 3600000};
    limits many;
    many.concurrency = 1000;
    const limit_rule rules[] = {{subject_kind::address, few}, {subject_kind::model, many}};
    zone.publish(file_of("keys.json", 1));

    auto request = zone.request(99);
    request.rules = rules;
    request.now_ns = 1000000000;
    for (uint32_t i = 0; i < 4000; i++) {
        uint8_t address[4];
        memcpy(address, &i, sizeof i);
        request.address = address;
        shared_key* key = nullptr;
        EXPECT_NE(zone->check_key(request, key).said, verdict::ok);
    }
    EXPECT_LE(zone->subjects().used(), zone->subjects().capacity() / 8 + 1);
    request = zone.request(0, "a model");
    request.rules = rules;
    request.now_ns = 1000000000;
    EXPECT_EQ(zone.admit(request).said, verdict::ok);
}

TEST(subject_table, names_of_every_length_are_found_again)
{
    shared_zone zone(6 << 20);
    key_file file = file_of("keys.json", 1);
    zone.publish(file);
    limits many;
    many.concurrency = 1000;
    const limit_rule rules[] = {{subject_kind::model, many}};
    std::vector<uint32_t> numbers;
    std::vector<std::string> names;
    for (size_t size = 0; size <= max_name; size++) {
        for (char last : {'a', 'b'}) {
            std::string name(size, 'x');
            if (size != 0) {
                name.back() = last;
            }
            names.push_back(name);
            admission_request r = zone.request(0, names.back());
            r.rules = rules;
            lease* l = zone.admit(r).taken;
            ASSERT_NE(l, nullptr);
            numbers.push_back(l->holds[place_of(subject_kind::model)].who);
            EXPECT_EQ(zone->subjects().at(numbers.back()).name(), names.back());
            zone->settle(*l, {}, r.now());
        }
    }
    for (size_t n = 0; n < names.size(); n++) {
        EXPECT_EQ(zone->subjects().find(subject_kind::model, names[n]), numbers[n]);
    }
    EXPECT_EQ(std::set<uint32_t>(numbers.begin(), numbers.end()).size(), 2 * max_name + 1);
}
