#include "shared_zone.h"

#include <csignal>
#include <map>
#include <memory>
#include <random>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace llm;

namespace {

constexpr uint64_t second = 1000000000;
constexpr int64_t hour_ms = 3600000;
// 29 February 2024, 12:00 UTC.
constexpr int64_t noon = 1709208000000;

using name_of = std::pair<subject_kind, std::string>;
using states = std::map<name_of, subject_state>;

void direct(auto&& change)
{
    change();
}

limits all_kinds()
{
    limits l;
    l.requests = {10, 60000};
    l.tokens = {6000, 60000};
    l.quota = 1000000;
    l.window = quota_window::day;
    l.concurrency = 1000;
    return l;
}

class exported : public testing::Test {
protected:
    exported()
        : rules{{subject_kind::key, all_kinds()},
                {subject_kind::user, all_kinds()},
                {subject_kind::model, all_kinds()},
                {subject_kind::address, all_kinds()},
                {subject_kind::zone, all_kinds()}}
    {
        zone.publish(file_of("keys.json", 4));
    }

    lease* admit(shared_zone& at, uint64_t key, std::string_view model = "m")
    {
        admission_request r = at.request(key, model);
        r.now_ns = now.ns;
        r.now_ms = now.unix_ms;
        r.rules = rules;
        r.estimate = 100;
        return at.admit(r).taken;
    }
    void use(shared_zone& at, uint64_t key, uint64_t completion, std::string_view model = "m")
    {
        lease* l = admit(at, key, model);
        ASSERT_NE(l, nullptr);
        l->set_answered();
        at->settle(*l, {10, 4, completion, 2, 1}, now);
    }
    // All that a pass gives, and its mark.
    states take(shared_zone& from, uint64_t since = 0, uint64_t* mark = nullptr)
    {
        const auto pass = std::make_unique<subject_export>(from->begin_export(since));
        if (mark) {
            *mark = pass->mark();
        }
        states all;
        for (auto slice = pass->next(now, [](auto&& f) { direct(f); }); !slice.empty();
             slice = pass->next(now, [](auto&& f) { direct(f); })) {
            EXPECT_LE(slice.size(), subject_export::max_slice);
            for (const subject_state& s : slice) {
                all[{s.kind, std::string(s.name())}] = s;
            }
        }
        return all;
    }
    static void put(shared_zone& to, const states& all, const moment& when)
    {
        for (const auto& [name, s] : all) {
            EXPECT_TRUE(to->import(s, when)) << name.second;
        }
    }

    shared_zone zone;
    std::vector<limit_rule> rules;
    moment now{1000 * second, noon};
};

void same_totals(const usage_totals& a, const usage_totals& b)
{
    EXPECT_EQ(a.requests, b.requests);
    EXPECT_EQ(a.prompt, b.prompt);
    EXPECT_EQ(a.cached, b.cached);
    EXPECT_EQ(a.completion, b.completion);
    EXPECT_EQ(a.reasoning, b.reasoning);
    EXPECT_EQ(a.cache_write, b.cache_write);
}

} // namespace

// Into another zone, with other secrets and another monotonic clock: what comes out again is the same.
TEST_F(exported, what_is_put_back_comes_out_the_same)
{
    for (uint64_t key = 0; key < 4; key++) {
        use(zone, key, 50 + key, "model" + std::to_string(key));
        use(zone, key, 300, "model" + std::to_string(key));
    }
    zone->learned().learn("key0", "model0", {400, 0, 1}, {50, 70, 300});
    const states before = take(zone);
    ASSERT_GE(before.size(), 4u + 2 + 4 + 1 + 1);

    shared_zone other(1 << 20, {7, 8});
    other.publish(file_of("keys.json", 4));
    now.ns = 5 * second;
    put(other, before, now);
    EXPECT_EQ(other->imported(), before.size());
    const states after = take(other);
    ASSERT_EQ(after.size(), before.size());
    for (const auto& [name, b] : before) {
        ASSERT_TRUE(after.contains(name)) << name.second;
        const subject_state& a = after.at(name);
        same_totals(a.totals, b.totals);
        EXPECT_EQ(a.proved, b.proved);
        EXPECT_EQ(a.owner(), b.owner());
        EXPECT_EQ(a.learned, b.learned);
        EXPECT_EQ(a.learned_by_owner, b.learned_by_owner);
        for (size_t w = 0; w < quota_windows; w++) {
            EXPECT_EQ(a.quotas[w].used, b.quotas[w].used);
        }
        for (size_t kind = 0; kind < 2; kind++) {
            for (size_t i = 0; i <= subject_rates::own_states; i++) {
                EXPECT_EQ(a.debts[kind][i].ns, b.debts[kind][i].ns);
                if (b.debts[kind][i].ns != 0) {
                    EXPECT_EQ(a.debts[kind][i].label, b.debts[kind][i].label);
                }
            }
        }
    }
    const name_of model{subject_kind::model, "model0"};
    EXPECT_EQ(after.at(model).owner(), "key0");
    EXPECT_TRUE(after.at(model).proved);
    EXPECT_NE(after.at(model).learned.completion, 0u);
    EXPECT_NE(after.at(model).learned_by_owner.completion, 0u);
    EXPECT_EQ(after.at({subject_kind::key, "key0"}).quotas[index_of(quota_window::day)].used, 370u);
}

TEST_F(exported, the_limits_hold_after_a_restart)
{
    for (int i = 0; i < 10; i++) {
        use(zone, 0, 1);
    }
    ASSERT_EQ(admit(zone, 0), nullptr);
    const states kept = take(zone);

    shared_zone other;
    other.publish(file_of("keys.json", 4));
    // A request flows off in six seconds; five have passed by the wall clock.
    moment later{7 * second, noon + 5000};
    put(other, kept, later);
    now = later;
    EXPECT_EQ(admit(other, 0), nullptr);
    now = {8 * second + second / 10, noon + 6100};
    EXPECT_NE(admit(other, 0), nullptr);
    EXPECT_EQ(admit(other, 0), nullptr);
}

TEST_F(exported, a_window_that_is_over_is_not_put_back)
{
    use(zone, 0, 90);
    const states kept = take(zone);
    const name_of key{subject_kind::key, "key0"};
    ASSERT_EQ(kept.at(key).quotas[index_of(quota_window::day)].used, 100u);
    struct {
        int64_t hours;
        uint64_t used;
    } const cases[] = {{0, 100}, {11, 100}, {12, 0}, {36, 0}, {-12, 100}, {-13, 100}, {-37, 0}};
    for (const auto& c : cases) {
        shared_zone other;
        const moment then{second, noon + c.hours * hour_ms};
        put(other, kept, then);
        EXPECT_EQ(other.key("key0").counts.used_in(quota_window::day, hour_of(then.unix_ms)), c.used)
            << c.hours;
        EXPECT_EQ(other.key("key0").counts.totals.requests, 1u);
        EXPECT_EQ(other.key("key0").rates.tat[rate_of_requests][0] != 0, c.hours <= 0);
    }
}

TEST_F(exported, what_was_counted_meanwhile_is_added_to)
{
    use(zone, 0, 90);
    const states kept = take(zone);
    shared_zone other;
    other.publish(file_of("keys.json", 4));
    use(other, 0, 290);
    const uint64_t tat = other.key("key0").rates.tat_of(rate_of_tokens, label_of(second / 100));
    lease* running = admit(other, 0);
    put(other, kept, now);
    const subject& s = other.key("key0");
    EXPECT_EQ(s.counts.totals.requests, 2u);
    EXPECT_EQ(s.counts.totals.completion, 380u);
    EXPECT_EQ(s.counts.used_in(quota_window::day, hour_of(now.unix_ms)), 400u);
    EXPECT_EQ(s.in_flight, 1u);
    EXPECT_EQ(s.reserved, 100u);
    EXPECT_EQ(s.rates.tat_of(rate_of_tokens, label_of(second / 100)), tat + 200 * second / 100);
    // What it took comes back as if nothing had happened.
    other->settle(*running, {}, now);
    EXPECT_EQ(s.rates.tat_of(rate_of_tokens, label_of(second / 100)), tat + 100 * second / 100);

    // What the clock of the kept state was ahead by a window counts in that one.
    subject_state ahead = kept.at({subject_kind::key, "key0"});
    ahead.quotas[index_of(quota_window::day)].hour += 24;
    EXPECT_TRUE(other->import(ahead, now));
    EXPECT_EQ(s.counts.used_in(quota_window::day, hour_of(now.unix_ms)), 500u);
    EXPECT_EQ(s.counts.used_in(quota_window::day, hour_of(now.unix_ms) + 24), 500u);
    EXPECT_EQ(s.counts.used_in(quota_window::day, hour_of(now.unix_ms) + 48), 0u);
}

TEST_F(exported, figures_learned_meanwhile_stay)
{
    zone->learned().learn("key0", "m", {400, 0, 1}, {50, 70, 300});
    use(zone, 0, 1);
    const states kept = take(zone);
    shared_zone other(1 << 20, {3, 4});
    other->learned().learn("key0", "m", {400, 0, 1}, {200, 900, 3000});
    const learned_figures own = other->learned().figures("key0", "m");
    put(other, kept, now);
    EXPECT_EQ(other->learned().figures("key0", "m"), own);

    shared_zone empty(1 << 20, {3, 4});
    learned_figures wrong;
    wrong.completion = 1 << 30;
    wrong.prompt_ratio = 1;
    wrong.text_ratio = UINT16_MAX;
    empty->learned().restore("m", wrong);
    EXPECT_EQ(empty->learned().figures("m"), learned_figures{});
    EXPECT_EQ(empty->learned().estimate("k", "m", {400, 0, 1}).completion,
              token_estimator::default_completion);
    empty->learned().restore("key0", "m", kept.at({subject_kind::model, "m"}).learned_by_owner);
    EXPECT_EQ(empty->learned().estimate("key0", "m", {400, 0, 1}).completion,
              zone->learned().estimate("key0", "m", {400, 0, 1}).completion);
    EXPECT_EQ(empty->learned().estimate("key0", "m", {400, 0, 1}).prompt,
              zone->learned().estimate("key0", "m", {400, 0, 1}).prompt);
}

TEST_F(exported, every_change_is_in_the_next_pass)
{
    rules.clear(); // nobody shares
    use(zone, 0, 1);
    use(zone, 2, 1);
    uint64_t mark = 0;
    take(zone, 0, &mark);
    EXPECT_TRUE(take(zone, mark, &mark).empty());
    const auto changed = [&](auto&& change) {
        change();
        const states all = take(zone, mark, &mark);
        EXPECT_TRUE(take(zone, mark, &mark).empty());
        return all.contains({subject_kind::key, "key0"}) && !all.contains({subject_kind::key, "key2"});
    };
    lease* l = nullptr;
    EXPECT_TRUE(changed([&] { l = admit(zone, 0); }));
    EXPECT_TRUE(changed([&] {
        admission_request r = zone.request(0);
        r.rules = rules;
        zone->extend(*l, r, 10);
    }));
    EXPECT_TRUE(changed([&] { zone->settle(*l, {1, 0, 1, 0}, now); }));
    const uint32_t owner = zone->claim_owner({1, 1});
    EXPECT_TRUE(changed([&] { zone.admit(zone.request(0, "m", owner)); }));
    EXPECT_TRUE(changed([&] { zone->take_back(owner, {1, 1}, now, [](auto&& f) { direct(f); }); }));
    EXPECT_TRUE(changed([&] {
        subject_state s{};
        s.kind = subject_kind::key;
        s.name_len = 4;
        memcpy(s.name_bytes, "key0", 4);
        zone->import(s, now);
    }));
    // Wrong keys have records of their own.
    limits few;
    few.failures = {5, 60000};
    rules = {{subject_kind::address, few}};
    for (int i = 0; i < 2; i++) {
        admission_request r = zone.request(99);
        r.rules = rules;
        r.now_ns = now.ns;
        shared_key* key = nullptr;
        zone->check_key(r, key);
        EXPECT_EQ(take(zone, mark, &mark).size(), 1u);
    }
    // A name loses its key.
    limits many;
    many.concurrency = 10;
    rules = {{subject_kind::model, many}};
    use(zone, 0, 1, "x");
    take(zone, mark, &mark);
    ASSERT_TRUE(
        zone->drop_subject(zone->subjects().find(subject_kind::key, "key0"), subject_kind::key, "key0"));
    const states lost = take(zone, mark, &mark);
    ASSERT_EQ(lost.size(), 1u);
    EXPECT_EQ(lost.begin()->first.second, "x");
    EXPECT_EQ(lost.begin()->second.owner(), "");
}

// Only 16 bits of a mark are kept: what is older may come again, but nothing is left out.
TEST_F(exported, marks_outlive_their_ends)
{
    rules.clear();
    use(zone, 0, 1);
    uint64_t mark = 0;
    take(zone, 0, &mark);
    const uint64_t first = mark;
    size_t again = 0;
    for (int i = 0; i < 140000; i++) {
        const uint64_t since = mark;
        mark = zone->begin_export(since).mark();
        again += zone->subjects().changed_since(zone->subjects().find(subject_kind::key, "key0"), since);
    }
    EXPECT_LE(again, 6u);
    use(zone, 2, 1);
    EXPECT_TRUE(take(zone, mark).contains({subject_kind::key, "key2"}));
    EXPECT_FALSE(take(zone, mark).contains({subject_kind::key, "key0"}));
    EXPECT_TRUE(take(zone, first).contains({subject_kind::key, "key0"}));
    EXPECT_TRUE(take(zone, first).contains({subject_kind::key, "key2"}));
}

// Between slices subjects are made, used, dropped, and their records used for others. After the pass that
// follows the last change, the newest state of everybody is known.
TEST_F(exported, changes_between_slices_are_not_lost)
{
    shared_zone big(4 << 20);
    constexpr size_t n = 1000;
    key_file file = file_of("keys.json", n);
    for (key_record& k : file.keys) {
        k.user.clear();
    }
    big.publish(file);
    rules.clear();
    std::mt19937_64 random(3);
    std::map<std::string, uint64_t> used; // completion by key
    const auto use_one = [&](uint64_t key) {
        const uint64_t tokens = random() % 100;
        use(big, key, tokens);
        used["key" + std::to_string(key)] += tokens;
    };
    for (uint64_t key = 0; key < n / 2; key++) {
        use_one(key);
    }
    std::map<std::string, uint64_t> known;
    uint64_t since = 0;
    size_t slices = 0;
    for (int pass = 0; pass < 20; pass++) {
        const auto p = std::make_unique<subject_export>(big->begin_export(since));
        for (;;) {
            const auto slice = p->next(now, [&](auto&& f) {
                // Its candidates are found; the records may be others' by the time that the lock is there.
                for (int i = 0; i < 20 && pass < 18; i++) {
                    const uint64_t key = random() % n;
                    const std::string name = "key" + std::to_string(key);
                    const uint32_t number = big->subjects().find(subject_kind::key, name);
                    if (number != no_index && random() % 2 == 0) {
                        ASSERT_TRUE(big->drop_subject(number, subject_kind::key, name));
                        big.publish(file); // which knows no numbers
                        used.erase(name);
                        known.erase(name);
                    } else {
                        use_one(key);
                    }
                }
                f();
            });
            if (slice.empty()) {
                break;
            }
            slices++;
            for (const subject_state& s : slice) {
                if (s.kind == subject_kind::key) {
                    known[std::string(s.name())] = s.totals.completion;
                }
            }
        }
        since = p->mark();
    }
    EXPECT_GT(slices, 20u);
    // Those that were dropped after they were seen are known still.
    for (auto it = known.begin(); it != known.end();) {
        it = used.contains(it->first) ? std::next(it) : known.erase(it);
    }
    EXPECT_EQ(known, used);
}

TEST_F(exported, what_keys_share_and_what_lost_its_key_comes_back)
{
    subject_state s{};
    s.totals.requests = 3;
    s.unix_ms = now.unix_ms;
    for (subject_kind kind : {subject_kind::other_models, subject_kind::other_addresses}) {
        s.kind = kind;
        s.name_len = 0;
        EXPECT_TRUE(zone->import(s, now));
        EXPECT_TRUE(zone->import(s, now));
        EXPECT_EQ(take(zone).at({kind, ""}).totals.requests, 6u);
        s.name_len = 4;
        memcpy(s.name_bytes, "key0", 4);
        EXPECT_TRUE(zone->import(s, now));
        EXPECT_EQ(take(zone).at({kind, "key0"}).totals.requests, 3u);
    }
    s.kind = subject_kind::model;
    EXPECT_TRUE(zone->import(s, now));
    EXPECT_EQ(take(zone).at({subject_kind::model, "key0"}).owner(), "");
    // The lists are right.
    zone->enter();
    zone->enter();
    zone->leave();
    EXPECT_EQ(zone->subjects().names(), 1u);
    EXPECT_EQ(zone->subjects().used(), 3u);
}

TEST_F(exported, what_cannot_be_is_left_out)
{
    const uint32_t used = zone->subjects().used();
    subject_state s{};
    EXPECT_FALSE(zone->import(s, now));
    s.kind = static_cast<subject_kind>(200);
    EXPECT_FALSE(zone->import(s, now));
    s.kind = subject_kind::key;
    s.name_len = max_name + 1;
    EXPECT_FALSE(zone->import(s, now));
    s.name_len = 1;
    s.owner_len = 255;
    EXPECT_FALSE(zone->import(s, now));
    EXPECT_EQ(zone->subjects().used(), used);
    EXPECT_EQ(zone->imported(), 4u);
}

// Names that clients chose leave room for the keys.
TEST_F(exported, a_full_zone_takes_back_what_there_is_room_for)
{
    shared_zone small(shared_state::min_bytes);
    small->set_needed(200);
    subject_state s{};
    s.kind = subject_kind::address;
    s.name_len = 4;
    uint32_t put_back = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        memcpy(s.name_bytes, &i, sizeof i);
        put_back += small->import(s, now);
    }
    EXPECT_GT(put_back, 10u);
    EXPECT_EQ(small->imported(), 1000u);
    EXPECT_LE(small->subjects().used() + 200, small->subjects().capacity());
    s.kind = subject_kind::key;
    for (uint32_t i = 0; i < 190; i++) {
        memcpy(s.name_bytes, &i, sizeof i);
        ASSERT_TRUE(small->import(s, now));
    }
}

// Killed at any instruction, the import goes on after what it has done: everything is there once.
TEST_F(exported, blocks_are_kept)
{
    zone->set_blocked("key0", true, {now.ns, noon - 5000});
    zone->set_blocked("key1", true, now);
    zone->set_blocked("key1", false, now);
    const states kept = take(zone);
    shared_zone to;
    to->set_blocked("known", true, {now.ns, 9000});
    put(to, kept, now);
    EXPECT_EQ(to.key("key0").blocked_since(), static_cast<uint32_t>(noon / 1000));
    EXPECT_EQ(to.key("key1").blocked_since(), 0u);
    EXPECT_EQ(to.key("known").blocked_since(), 9u);
    EXPECT_EQ(to->subjects().blocked(), 2u);

    uint64_t mark = 0;
    take(zone, 0, &mark);
    EXPECT_TRUE(take(zone, mark).empty());
    zone->set_blocked("key0", false, now);
    EXPECT_EQ(take(zone, mark).size(), 1u);
}

TEST_F(exported, an_import_that_is_killed_goes_on_where_it_was)
{
    constexpr uint64_t n = 20000;
    shared_zone other(16 << 20);
    const auto state = [&](uint64_t i) {
        const std::string name = "key" + std::to_string(i % 40);
        subject_state s{};
        s.kind = i % 2 ? subject_kind::key : subject_kind::user;
        s.name_len = static_cast<uint8_t>(name.copy(s.name_bytes, max_name));
        s.unix_ms = noon;
        s.totals.requests = 1;
        s.totals.prompt = i;
        s.quotas[index_of(quota_window::total)] = {i, 0};
        s.debts[rate_of_tokens][0] = {i, label_of(1000)};
        return s;
    };
    std::mt19937_64 random(11);
    int killed = 0;
    for (bool done = false; !done;) {
        // The child's own clock kills it: so it does not matter when this process gets to run.
        const itimerval soon = {{0, 0}, {0, static_cast<suseconds_t>(20 + random() % 2000)}};
        const pid_t pid = fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
            setitimer(ITIMER_REAL, &soon, nullptr);
            for (;;) {
                other->enter();
                if (other->imported() == n) {
                    other->leave();
                    _exit(0);
                }
                other->import(state(other->imported()), now);
                other->leave();
            }
        }
        int status = 0;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        done = WIFEXITED(status);
        killed += !done;
        other->enter();
        usage_totals sum;
        for (uint32_t i = 0; i < other->subjects().high_water(); i++) {
            const subject& s = other->subjects().at(i);
            if (s.kind == subject_kind::none) {
                continue;
            }
            sum.requests += s.counts.totals.requests;
            sum.prompt += s.counts.totals.prompt;
            ASSERT_EQ(s.counts.used[index_of(quota_window::total)], s.counts.totals.prompt);
            if (s.counts.totals.prompt != 0) {
                ASSERT_EQ(s.rates.tat_of(rate_of_tokens, label_of(1000)), now.ns + s.counts.totals.prompt);
            }
        }
        const uint64_t so_far = other->imported();
        other->leave();
        ASSERT_EQ(sum.requests, so_far);
        ASSERT_EQ(sum.prompt, so_far * (so_far - (so_far != 0)) / 2);
    }
    EXPECT_GT(killed, 0);
}
