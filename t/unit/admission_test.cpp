#include "core/shared/subject_names.h"

#include "shared_zone.h"

#include <random>

using namespace llm;

namespace {

constexpr uint64_t second = 1000000000;

limits requests(uint64_t amount, int64_t burst = -1)
{
    limits l;
    l.requests = {amount, 1000};
    l.burst = burst;
    return l;
}

limits concurrency(int64_t n)
{
    limits l;
    l.concurrency = n;
    return l;
}

limits tokens(uint64_t a_minute, int64_t burst = -1)
{
    limits l;
    l.tokens = {a_minute, 60000};
    l.token_burst = burst;
    return l;
}

limits quota(uint64_t n, quota_window w)
{
    limits l;
    l.quota = n;
    l.window = w;
    return l;
}

// A zone with a clock and the rules of one location.
class gate : public testing::Test {
protected:
    gate() : zone(4 << 20) { zone.publish(file_of("keys.json", 8)); }

    admission_request request(uint64_t key = 0, uint64_t estimate = 0)
    {
        admission_request r = zone.request(key, model);
        r.address = address;
        r.now_ns = now.ns;
        r.now_ms = now.unix_ms;
        r.rules = rules;
        r.estimate = estimate;
        return r;
    }
    admission_result admit(uint64_t key = 0, uint64_t estimate = 0)
    {
        return zone.admit(request(key, estimate));
    }
    admission_result check(uint64_t key)
    {
        shared_key* found = nullptr;
        return zone->check_key(request(key), found);
    }
    // Lets in as many as it can, at most 1000.
    std::vector<lease*> admit_all(uint64_t key = 0, uint64_t estimate = 0)
    {
        std::vector<lease*> all;
        for (int i = 0; i < 1000; i++) {
            lease* l = admit(key, estimate).taken;
            if (!l) {
                break;
            }
            all.push_back(l);
        }
        return all;
    }
    void settle(lease* l, uint64_t completion) { zone->settle(*l, {0, 0, completion, 0}, now); }
    void wait_ms(uint64_t ms)
    {
        now.ns += ms * 1000000;
        now.unix_ms += static_cast<int64_t>(ms);
    }
    // Puts limits of its own on every key.
    void limit_keys(const limits& l)
    {
        key_file file = file_of("keys.json", 8);
        file.policies.push_back({l, {}, {}});
        for (key_record& k : file.keys) {
            k.policy = 1;
        }
        zone.publish(file);
    }

    shared_zone zone;
    std::vector<limit_rule> rules;
    std::string model = "m";
    std::vector<uint8_t> address{10, 0, 0, 1};
    moment now{100 * second, 1709164800000}; // 29 February 2024, a Thursday, 00:00
};

} // namespace

TEST_F(gate, lets_in_exactly_as_many_as_each_limit_says)
{
    for (auto scope : {subject_kind::key, subject_kind::user, subject_kind::model, subject_kind::address,
                       subject_kind::zone}) {
        for (auto [limit, n] :
             {std::pair(requests(10, 20), 21u), std::pair(requests(3), 3u), std::pair(requests(3, 0), 1u),
              std::pair(concurrency(5), 5u), std::pair(concurrency(0), 0u), std::pair(tokens(1000), 10u),
              std::pair(tokens(1000, 300), 3u), std::pair(quota(1000, quota_window::day), 10u)}) {
            rules = {{scope, limit}};
            std::vector<lease*> in = admit_all(0, 100);
            EXPECT_EQ(in.size(), n) << static_cast<int>(scope);
            for (lease* l : in) {
                settle(l, 0);
            }
            wait_ms(120000);
        }
    }
}

TEST(limit_rules, a_rate_without_a_burst_lets_in_one_period_at_once)
{
    constexpr uint64_t minute = 60000, day = 86400000;
    for (auto [amount, period_ms] : {std::pair<uint64_t, uint64_t>(1, 1000),
                                     {10, 1000},
                                     {60, minute},
                                     {1000, day},
                                     {1000000000, 1000},
                                     {INT64_MAX, 1000},
                                     {INT64_MAX, day}}) {
        limits l;
        l.requests = {amount, period_ms};
        EXPECT_EQ(shape_of_requests(l).capacity, amount);
        EXPECT_EQ(limit_rule(subject_kind::key, l).requests().capacity, amount);
        l.burst = 0;
        EXPECT_EQ(shape_of_requests(l).capacity, 1u);
        l.burst = INT64_MAX;
        EXPECT_EQ(shape_of_requests(l).capacity, uint64_t{1} << 63);
    }
    EXPECT_FALSE(shape_of_requests({}).limits());
}

TEST_F(gate, a_period_may_be_spent_whenever_it_is_and_comes_back_evenly)
{
    rules = {{subject_kind::key, requests(5)}};
    admission_result first = admit();
    EXPECT_EQ(first.report.requests_limit, 5u);
    EXPECT_EQ(first.report.requests_remaining, 4u);
    EXPECT_EQ(admit_all().size(), 4u);
    wait_ms(400);
    EXPECT_EQ(admit_all().size(), 2u);
    wait_ms(100000);
    EXPECT_EQ(admit_all().size(), 5u);

    // Of a key's own rate as well, where neither it nor a rule has a burst.
    rules = {};
    limit_keys(requests(3));
    EXPECT_EQ(admit_all(2).size(), 3u);
    rules = {{subject_kind::key, requests(100, 0)}};
    EXPECT_EQ(admit_all(4).size(), 1u); // the rule's burst
}

TEST_F(gate, what_one_limit_refuses_costs_nothing_at_the_others)
{
    limits all = requests(100, 100);
    all.concurrency = 100;
    all.tokens = {100000, 60000};
    all.quota = 1000000;
    all.window = quota_window::day;
    for (int i = 1; i <= 5; i++) {
        rules.push_back({static_cast<subject_kind>(i), all});
    }
    settle(admit(0, 50).taken, 50);
    rules.push_back({subject_kind::key, concurrency(0)});

    auto bytes_of = [&](uint32_t i) {
        return std::string(reinterpret_cast<const char*>(&zone->subjects().at(i)), sizeof(subject));
    };
    std::vector<std::string> before;
    for (uint32_t i = 0; i < zone->subjects().high_water(); i++) {
        before.push_back(bytes_of(i));
    }
    for (uint64_t key = 0; key < 8; key++) {
        model = "new" + std::to_string(key);
        address[3] = static_cast<uint8_t>(key);
        EXPECT_EQ(admit(key, 10).refused_by.kind, limit_kind::concurrency);
    }
    ASSERT_EQ(zone->subjects().used(), before.size());
    for (uint32_t i = 0; i < before.size(); i++) {
        EXPECT_TRUE(before[i] == bytes_of(i));
    }
}

TEST_F(gate, an_idle_key_may_always_send_one_request)
{
    rules = {{subject_kind::key, tokens(1000)}, {subject_kind::user, quota(500, quota_window::month)}};
    lease* l = admit(0, 1000000).taken;
    ASSERT_TRUE(l);
    EXPECT_EQ(admit(0, 1).said, verdict::limited);
    settle(l, 100);
    EXPECT_EQ(admit_all(0, 100).size(), 4u);
}

TEST_F(gate, what_is_not_used_comes_back_at_once)
{
    rules = {{subject_kind::key, tokens(100000)}};
    std::vector<lease*> in = admit_all(0, 10000);
    ASSERT_EQ(in.size(), 10u);
    wait_ms(100);
    for (lease* l : in) {
        settle(l, 5000);
    }
    EXPECT_EQ(admit_all(0, 10000).size(), 5u);
}

TEST_F(gate, overspending_stays_as_debt)
{
    rules = {{subject_kind::key, tokens(60000)}}; // 1 in a millisecond
    settle(admit(0, 1000).taken, 70000);
    admission_result r = admit(0, 1000);
    EXPECT_EQ(r.refused_by.kind, limit_kind::tokens);
    EXPECT_EQ(r.refused_by.wait_ms, 11000u);
    EXPECT_EQ(r.report.tokens_remaining, 0u);
    wait_ms(10999);
    EXPECT_EQ(admit(0, 1000).said, verdict::limited);
    wait_ms(1);
    EXPECT_EQ(admit(0, 1000).said, verdict::ok);
}

TEST_F(gate, what_has_flowed_back_does_not_come_back_again)
{
    rules = {{subject_kind::key, tokens(60000)}};
    lease* slow = admit(0, 60000).taken;
    wait_ms(61000); // the limit is whole again
    ASSERT_EQ(admit_all(0, 60000).size(), 1u);
    settle(slow, 0);
    EXPECT_EQ(admit(0, 100).said, verdict::limited);
}

TEST_F(gate, weights)
{
    rules = {{subject_kind::key, quota(1000, quota_window::total)}};
    admission_request r = request(0, 10);
    r.weights = {1000, 100, 4000};
    zone->settle(*zone.admit(r).taken, {200, 100, 50, 0}, now);
    EXPECT_EQ(zone.key("key0").counts.used[index_of(quota_window::total)], 100u + 10 + 200);
    EXPECT_EQ(weighted({1, 0, 0, 0}, {1, 1, 1}), 1u);
    EXPECT_EQ(weighted({1, 5, 0, 0}, {1000, 0, 0}), 0u);
    EXPECT_EQ(weighted({UINT64_MAX, 0, UINT64_MAX, 0}, {}), UINT64_MAX);
    EXPECT_EQ(weighted({UINT64_MAX, 0, 0, 0}, {}), UINT64_MAX);
}

TEST_F(gate, the_longest_wait_is_the_one_that_is_told)
{
    rules = {{subject_kind::key, requests(1)},
             {subject_kind::user, tokens(60)},
             {subject_kind::zone, concurrency(1)}};
    ASSERT_EQ(admit(0, 60).said, verdict::ok);
    admission_result r = admit(0, 60);
    EXPECT_EQ(r.refused_by.kind, limit_kind::tokens);
    EXPECT_EQ(r.refused_by.scope, subject_kind::user);
    EXPECT_EQ(r.refused_by.wait_ms, 60000u);
    rules = {{subject_kind::zone, concurrency(0)}};
    EXPECT_EQ(admit().refused_by.wait_ms, limit_refusal::wait_unknown);
}

TEST_F(gate, a_quota_holds_for_its_window)
{
    rules = {{subject_kind::key, quota(100, quota_window::week)},
             {subject_kind::user, quota(1000, quota_window::total)}};
    settle(admit(0, 10).taken, 150);
    admission_result r = admit(0, 10);
    EXPECT_EQ(r.refused_by.kind, limit_kind::quota);
    EXPECT_EQ(r.refused_by.window, quota_window::week);
    EXPECT_EQ(r.refused_by.wait_ms, 4u * 86400000); // until Monday
    wait_ms(4u * 86400000 - 1);
    EXPECT_EQ(admit(0, 10).said, verdict::limited);
    wait_ms(1);
    settle(admit(0, 10).taken, 900);
    // Its user's quota never ends.
    EXPECT_EQ(admit(0, 10).refused_by.wait_ms, limit_refusal::wait_never);
    EXPECT_EQ(admit(1, 10).refused_by.scope, subject_kind::user);
    EXPECT_EQ(admit(2, 10).said, verdict::ok);
}

TEST_F(gate, a_clock_that_steps_back_renews_no_quota)
{
    rules = {{subject_kind::key, quota(100, quota_window::day)}};
    settle(admit(0, 10).taken, 150);
    now.unix_ms -= 86400000;
    EXPECT_EQ(admit(0, 10).said, verdict::limited);
    now.unix_ms += 86400000;
    EXPECT_EQ(admit(0, 10).said, verdict::limited);
    now.unix_ms += 86400000;
    EXPECT_EQ(admit(0, 10).said, verdict::ok);
}

TEST_F(gate, a_clock_that_was_ahead_freezes_no_quota)
{
    struct step {
        quota_window window;
        int64_t hours; // that the clock was ahead
    };
    const int64_t truth = now.unix_ms + 30 * 60000; // Thursday, 29 February, 00:30
    for (auto [window, hours] :
         {step{quota_window::hour, 2}, step{quota_window::hour, 100000}, step{quota_window::day, 25},
          step{quota_window::day, 47}, step{quota_window::day, 400 * 24}, step{quota_window::week, 8 * 24},
          step{quota_window::month, 32 * 24}, step{quota_window::month, 20 * 8766}}) {
        rules = {{subject_kind::key, quota(100, window)}};
        const uint64_t key = static_cast<uint64_t>(window);
        now.unix_ms = truth + hours * 3600000;
        settle(admit(key, 10).taken, 150);
        EXPECT_EQ(admit(key, 10).said, verdict::limited);
        now.unix_ms = truth;
        lease* l = admit(key, 10).taken;
        ASSERT_NE(l, nullptr) << static_cast<int>(window) << ", ahead by " << hours << " h";
        settle(l, 150);
        // And this window's quota is in force again, to its own end.
        admission_result r = admit(key, 10);
        EXPECT_EQ(r.said, verdict::limited);
        EXPECT_EQ(r.refused_by.wait_ms,
                  uint64_t{quota_end(window, hour_of(truth))} * 3600000 - static_cast<uint64_t>(truth));
    }
}

TEST_F(gate, a_clock_that_steps_back_over_a_border_frees_nothing_and_holds_for_a_window_at_most)
{
    // All windows at once: their counts are of different periods of one clock.
    const quota_window windows[] = {quota_window::hour, quota_window::day, quota_window::week,
                                    quota_window::month};
    rules.clear();
    for (quota_window w : windows) {
        rules.push_back({subject_kind::key, quota(100, w)});
    }
    now.unix_ms = 1711929600000 + 60000; // Monday, 1 April 2024, 00:01: all begin
    settle(admit(0, 10).taken, 60);
    now.unix_ms -= 120000;
    settle(admit(0, 10).taken, 50);
    EXPECT_EQ(admit(0, 10).said, verdict::limited) << "all are spent, those 2 minutes before as well";
    const subject& s = zone.key("key0");
    const int64_t border = 1711929600000;
    for (quota_window w : windows) {
        EXPECT_EQ(s.counts.used_in(w, hour_of(border - 1)), 110u);
        EXPECT_EQ(s.counts.used_in(w, hour_of(border)), 110u);
        uint32_t end = quota_end(w, hour_of(border));
        EXPECT_EQ(s.counts.used_in(w, end - 1), 110u);
        EXPECT_EQ(s.counts.used_in(w, end), 0u);
        EXPECT_EQ(s.counts.hour_of_use(w, hour_of(border - 1)), hour_of(border));
    }
}

// However the clock is set: what was used of a quota is forgotten when its window is over by the clock, or
// when the clock is set back by more than a window, and not before. It is so after one window more.
TEST(quota_clock, forgets_nothing_within_a_window_and_is_frozen_for_one_at_most)
{
    std::mt19937_64 random(20240229);
    for (int round = 0; round < 3000; round++) {
        subject_counts counts{};
        const auto w = static_cast<quota_window>(1 + random() % 4);
        const auto length = static_cast<int64_t>(quota_hours(w));
        int64_t at = 400000 + static_cast<int64_t>(random() % 100000);
        // The window that the tokens are of, and when they were last counted.
        int64_t begin = 0;
        int64_t end = 0;
        int64_t counted = at;
        uint64_t used = 0;
        for (int i = 0; i < 200; i++) {
            const auto hour = static_cast<uint32_t>(at);
            const uint64_t now = counts.used_in(w, hour);
            const bool within = at >= begin && at < end;
            const bool shortly_before = quota_end(w, hour) == begin && counted - at <= length;
            ASSERT_EQ(now, within || shortly_before ? used : 0u);
            if (now != 0) {
                ASSERT_EQ(counts.used_in(w, quota_end(w, quota_end(w, hour))), 0u) << "frozen";
            }
            if (random() % 2) {
                counts.count(bit_of(w), hour, 1);
                used = now + 1;
                counted = at;
                if (now == 0) {
                    end = quota_end(w, hour);
                    for (begin = at; begin > 0 && quota_end(w, static_cast<uint32_t>(begin - 1)) == end;) {
                        begin--;
                    }
                }
                ASSERT_EQ(counts.used_in(w, hour), used);
            }
            const int64_t scale = random() % 3 == 0 ? 3 * length : random() % 2 ? length : 3;
            at += static_cast<int64_t>(random() % static_cast<uint64_t>(2 * scale + 1)) - scale;
        }
    }
}

TEST_F(gate, a_quota_that_is_only_reserved_may_be_free_again_at_any_moment)
{
    rules = {{subject_kind::key, quota(100, quota_window::total)}};
    lease* l = admit(0, 500).taken;
    EXPECT_EQ(admit(0, 1).refused_by.wait_ms, limit_refusal::wait_unknown);
    settle(l, 10);
    EXPECT_EQ(admit(0, 1).said, verdict::ok);
}

TEST_F(gate, tokens_are_charged_to_the_window_in_which_a_request_ends)
{
    rules = {{subject_kind::key, quota(100, quota_window::day)}};
    now.unix_ms += 86399000;
    lease* l = admit(0, 10).taken;
    wait_ms(2000);
    settle(l, 150);
    EXPECT_EQ(admit(0, 10).said, verdict::limited);
}

TEST_F(gate, a_keys_own_limits_go_over_the_locations_field_by_field)
{
    limits location = requests(10, 2);
    location.concurrency = 100;
    rules = {{subject_kind::key, location}};
    limit_keys(requests(5));
    EXPECT_EQ(admit_all().size(), 3u); // its rate, the location's burst
    wait_ms(200);
    EXPECT_EQ(admit_all().size(), 1u);

    limits own = concurrency(2);
    own.burst = 50;
    limit_keys(own);
    EXPECT_EQ(admit_all(2).size(), 2u);

    rules = {};
    EXPECT_EQ(admit_all(4).size(), 2u); // without a rule too
}

TEST_F(gate, a_dry_run_says_so_and_lets_through)
{
    rules = {{subject_kind::key, requests(1), true}, {subject_kind::user, concurrency(1), true}};
    EXPECT_EQ(admit().dry_run_refusals, 0u);
    admission_result r = admit();
    EXPECT_EQ(r.said, verdict::ok);
    EXPECT_EQ(r.dry_run_refusals, dry_run_bit(limit_kind::requests, subject_kind::key)
                                      | dry_run_bit(limit_kind::concurrency, subject_kind::user));
    EXPECT_FALSE(r.report.has_requests);
    // It counts what it would have let in.
    wait_ms(1000);
    EXPECT_EQ(admit().dry_run_refusals, dry_run_bit(limit_kind::concurrency, subject_kind::user));
    // A key's own limits are no dry run.
    limit_keys(requests(1));
    EXPECT_EQ(admit_all(6).size(), 1u);
}

TEST_F(gate, the_report_is_of_the_tightest_limits_as_they_are_now)
{
    rules = {{subject_kind::key, requests(10, 20)},
             {subject_kind::user, requests(10, 4)},
             {subject_kind::key, tokens(60000)},
             {subject_kind::zone, quota(500, quota_window::day)}};
    admission_result r = admit(0, 100);
    EXPECT_TRUE(r.report.has_requests);
    EXPECT_EQ(r.report.requests_limit, 5u);
    EXPECT_EQ(r.report.requests_remaining, 4u);
    EXPECT_EQ(r.report.requests_reset_ms, 100u);
    EXPECT_EQ(r.report.tokens_limit, 500u);
    EXPECT_EQ(r.report.tokens_remaining, 400u);
    EXPECT_EQ(r.report.tokens_reset_ms, 86400000u);
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ(admit(0, 1).report.requests_remaining, static_cast<uint64_t>(3 - i));
    }
    r = admit(0, 1);
    EXPECT_EQ(r.refused_by.kind, limit_kind::requests);
    EXPECT_EQ(r.refused_by.scope, subject_kind::user);
    EXPECT_EQ(r.refused_by.wait_ms, 100u);
    EXPECT_EQ(r.report.requests_remaining, 0u);
    EXPECT_EQ(r.report.requests_reset_ms, 500u);
    EXPECT_EQ(r.report.tokens_remaining, 396u);
}

TEST_F(gate, limits_of_different_intervals_are_different_limits)
{
    // Two locations, and two rates at once in a third.
    limits slow = requests(1, 4), fast = requests(100, 9);
    rules = {{subject_kind::key, slow}};
    EXPECT_EQ(admit_all().size(), 5u);
    rules = {{subject_kind::key, fast}};
    EXPECT_EQ(admit_all().size(), 10u);
    wait_ms(1000);
    rules = {{subject_kind::key, slow}, {subject_kind::key, fast}};
    EXPECT_EQ(admit_all().size(), 1u);
}

TEST_F(gate, a_limit_that_is_raised_holds_at_the_next_request)
{
    limit_keys(tokens(100));
    settle(admit(0, 10).taken, 100000);
    EXPECT_EQ(admit(0, 10).said, verdict::limited);
    limit_keys(tokens(1000000));
    EXPECT_EQ(admit(0, 10).said, verdict::ok);
    limit_keys(tokens(100));
    EXPECT_EQ(admit(0, 10).said, verdict::limited); // the debt is still there
}

// More different rates than there are states for: never more than each would let in by itself.
TEST_F(gate, many_intervals_never_exceed_any)
{
    std::mt19937_64 random(99);
    const uint64_t rates[] = {1, 2, 5, 10, 50, 100};
    std::map<uint64_t, uint64_t> alone; // TAT of each rate
    uint64_t admitted = 0;
    for (int i = 0; i < 200000; i++) {
        now.ns += random() % (second / 20);
        uint64_t r = rates[random() % 6];
        int64_t burst = static_cast<int64_t>(random() % 4);
        limits l = requests(r, burst);
        rules = {{subject_kind::key, l}};
        gcra shape = gcra::of(l.requests, static_cast<uint64_t>(burst) + 1);
        if (lease* taken = admit().taken) {
            ASSERT_TRUE(shape.allows(alone[r], now.ns, 1)) << i;
            alone[r] = gcra_take(alone[r], now.ns, shape.interval_ns, 1);
            settle(taken, 0);
            admitted++;
        }
    }
    EXPECT_GT(admitted, 10000u);
}

TEST_F(gate, a_stream_that_outgrows_what_it_holds_takes_more)
{
    rules = {{subject_kind::key, quota(1000, quota_window::day), false, true},
             {subject_kind::zone, tokens(5000)}};
    lease* l = admit(0, 300).taken;
    EXPECT_FALSE(zone->extend(*l, request(), 400).exceeded);
    EXPECT_EQ(zone.key("key0").reserved, 700u);
    EXPECT_FALSE(zone->extend(*l, request(), 400).exceeded);
    extension_result r = zone->extend(*l, request(), 400);
    EXPECT_TRUE(r.exceeded);
    EXPECT_TRUE(r.cut);
    EXPECT_EQ(r.refused_by.kind, limit_kind::quota);
    settle(l, 1200);
    EXPECT_EQ(zone.key("key0").counts.used[index_of(quota_window::day)], 1200u);
    EXPECT_EQ(zone.key("key0").reserved, 0u);
    // The rate has 1200 less, not more.
    rules = {{subject_kind::zone, tokens(5000)}};
    EXPECT_EQ(admit(2, 0).report.tokens_remaining, 3800u);
}

TEST_F(gate, only_a_hard_quota_cuts)
{
    rules = {{subject_kind::key, quota(100, quota_window::day)},
             {subject_kind::user, tokens(100), false, true}};
    lease* l = admit(0, 100).taken;
    extension_result r = zone->extend(*l, request(), 100);
    EXPECT_TRUE(r.exceeded);
    EXPECT_FALSE(r.cut);
    // A key's own quota is hard where the location's rule for keys is.
    limit_keys(quota(50, quota_window::day));
    rules = {{subject_kind::key, quota(1000000, quota_window::day), false, true}};
    EXPECT_TRUE(zone->extend(*l, request(), 1).cut);
    rules = {{subject_kind::key, quota(1000000, quota_window::day), true, true}};
    EXPECT_FALSE(zone->extend(*l, request(), 1).cut);
}

TEST_F(gate, wrong_keys_are_counted_by_address_and_good_ones_pass)
{
    limits l;
    l.failures = {3, 60000};
    rules = {{subject_kind::address, l}};
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(check(99).said, verdict::unknown);
    }
    admission_result r = check(99);
    EXPECT_EQ(r.said, verdict::limited);
    EXPECT_EQ(r.refused_by.kind, limit_kind::failures);
    EXPECT_EQ(r.refused_by.wait_ms, 20000u);
    EXPECT_EQ(check(1).said, verdict::ok);
    address[3]++;
    EXPECT_EQ(check(99).said, verdict::unknown);
    address[3]--;
    wait_ms(20000);
    EXPECT_EQ(check(99).said, verdict::unknown);
    EXPECT_EQ(check(99).said, verdict::limited);
}

TEST_F(gate, addresses_of_one_host_are_one)
{
    auto name = [](std::vector<uint8_t> a) { return std::string(address_name(a)); };
    EXPECT_EQ(name({1, 2, 3, 4}), std::string("\x01\x02\x03\x04"));
    EXPECT_EQ(name({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4}), name({1, 2, 3, 4}));
    EXPECT_EQ(name({0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}),
              std::string("\x20\x01\x02\x03\x04\x05\x06\x07"));
    EXPECT_EQ(name({}), "");
}

TEST_F(gate, what_asks_no_model_is_under_no_models_limit)
{
    rules = {{subject_kind::model, concurrency(0)}};
    admission_request r = request();
    EXPECT_EQ(zone.admit(r).said, verdict::limited);
    r.asks_model = false;
    EXPECT_EQ(zone.admit(r).said, verdict::ok);
}

TEST_F(gate, long_model_names_are_told_apart)
{
    rules = {{subject_kind::model, concurrency(1)}};
    for (size_t size : {max_name - 1, max_name, max_name + 1, size_t{500}}) {
        for (char last : {'a', 'b'}) {
            model = std::string(size, 'x') + last;
            EXPECT_EQ(admit_all().size(), 1u) << size;
        }
    }
    for (uint32_t i = 0; i < zone->subjects().high_water(); i++) {
        EXPECT_LE(zone->subjects().at(i).name().size(), max_name);
    }
}

TEST(admission, addresses_that_say_nothing_any_more_make_room)
{
    shared_zone zone(shared_state::min_bytes);
    zone.publish(file_of("keys.json", 2));
    limits l = requests(1);
    limit_rule rules[] = {{subject_kind::address, l}};
    uint32_t address = 0;
    admission_request r = zone.request(0);
    r.address = {reinterpret_cast<uint8_t*>(&address), 4};
    r.rules = rules;
    r.now_ns = 1000 * second;
    auto try_next = [&] {
        address++;
        lease* taken = zone.admit(r).taken;
        if (taken) {
            zone->settle(*taken, {}, r.now());
        }
        return taken != nullptr;
    };

    // One second's: one for each, and then one for all others together.
    const uint32_t room = zone->subjects().max_names();
    auto one_second = [&] {
        for (uint32_t i = 0; i < room + 1; i++) {
            ASSERT_TRUE(try_next()) << i;
        }
        for (uint32_t i = 0; i < 1000; i++) {
            ASSERT_FALSE(try_next());
        }
    };
    one_second();
    EXPECT_EQ(zone.admit(r).said, verdict::limited);
    r.rules = {};
    r.key = digest_of_number(1);
    EXPECT_EQ(zone.admit(r).said, verdict::ok);
    r.key = digest_of_number(0);
    r.rules = rules;
    r.now_ns += second;
    one_second();
    // Its key, another with its user, and what is shared.
    EXPECT_EQ(zone->subjects().used(), room + 4);

    // The same after the table was made anew from its records.
    zone->enter();
    zone->enter();
    zone->leave();
    EXPECT_FALSE(try_next());
    r.now_ns += second;
    one_second();
    EXPECT_EQ(zone->subjects().used(), room + 4);
    EXPECT_EQ(zone.key("key1").in_flight, 1u);
}
