// A random sequence of everything that can happen to the limits, carried out by the engine and by a simple
// reference, which must agree at every step. ADMISSION_SEED and ADMISSION_STEPS choose another run.

#include "admission_reference.h"
#include "shared_zone.h"

#include <chrono>
#include <random>

using namespace llm;

namespace {

constexpr uint64_t n_keys = 6;
constexpr uint32_t n_owners = 3;

uint64_t from_environment(const char* name, uint64_t otherwise)
{
    const char* text = getenv(name);
    return text ? strtoull(text, nullptr, 10) : otherwise;
}

class model {
public:
    explicit model(uint64_t seed) : random_(seed), zone_(8 << 20)
    {
        for (uint32_t i = 0; i < n_owners; i++) {
            zone_->claim_owner({i + 1, 0});
        }
        reload();
    }

    void step()
    {
        move_clocks();
        uint64_t what = below(1000);
        if (what < 1) {
            reload();
        } else if (what < 5) {
            kill_owner();
        } else if (what < 150 && !gate_.leases.empty()) {
            extend();
        } else if (what < 250 && !gate_.leases.empty()) {
            progress();
        } else if (what < 600 && gate_.leases.size() < 50) {
            admit();
        } else if (!gate_.leases.empty()) {
            settle();
        }
    }

    void compare_all()
    {
        for (auto& [who, account] : gate_.accounts) {
            uint32_t number = zone_->subjects().find(who.first, who.second);
            if (number == no_index) {
                ASSERT_EQ(account.totals.requests, 0u);
                continue;
            }
            const subject& s = zone_->subjects().at(number);
            ASSERT_EQ(s.in_flight, gate_.in_flight(who)) << who.second;
            ASSERT_EQ(s.reserved, gate_.reserved(who)) << who.second;
            ASSERT_EQ(s.counts.totals.requests, account.totals.requests);
            ASSERT_EQ(s.counts.totals.prompt, account.totals.prompt);
            ASSERT_EQ(s.counts.totals.completion, account.totals.completion);
            for (size_t i = 0; i <= subject_rates::own_states; i++) {
                auto& requests =
                    i < subject_rates::own_states ? account.requests.own[i] : account.requests.shared;
                auto& tokens = i < subject_rates::own_states ? account.tokens.own[i] : account.tokens.shared;
                ASSERT_EQ(s.rates.tat[rate_of_requests][i], static_cast<uint64_t>(requests.full_at));
                ASSERT_EQ(s.rates.tat[rate_of_tokens][i], static_cast<uint64_t>(tokens.full_at));
            }
            for (int w = 1; w <= 5; w++) {
                auto window = static_cast<quota_window>(w);
                ASSERT_EQ(s.counts.used_in(window, hour_of(unix_ms_)),
                          gate_.used(who, window, unix_ms_ / 1000));
            }
        }
        ASSERT_EQ(zone_->leases().running(), gate_.leases.size());
    }

    uint64_t admitted = 0, refused[6] = {}, extended = 0, exceeded = 0, cut = 0, settled = 0, dry = 0;

private:
    uint64_t below(uint64_t n) { return random_() % n; }
    bool one_in(uint64_t n) { return below(n) == 0; }
    template <class T>
    T any_of(std::initializer_list<T> list)
    {
        return list.begin()[below(list.size())];
    }

    void move_clocks()
    {
        static constexpr uint64_t scales[] = {1, 1000, 1000000, 100000000};
        uint64_t forward = below(20) * scales[below(4)];
        if (one_in(5000)) {
            forward = below(40 * 86400) * 1000000000;
        }
        ns_ += forward;
        rest_ns_ += forward;
        unix_ms_ += static_cast<int64_t>(rest_ns_ / 1000000);
        rest_ns_ %= 1000000;
        if (one_in(50)) { // another worker's processor
            ns_ -= below(100000);
        }
        if (one_in(3000)) { // somebody sets the clock
            unix_ms_ += static_cast<int64_t>(below(3 * 3600000)) - 2 * 3600000;
        }
        if (one_in(5000)) { // which was ahead, or will be
            int64_t step = static_cast<int64_t>(below(any_of<uint64_t>({2, 48, 400, 1800}) * 3600000));
            unix_ms_ += one_in(2) || unix_ms_ < 2 * step ? step : -step;
        }
    }

    rate any_rate(bool tokens)
    {
        if (tokens) {
            return any_of<rate>(
                {{1000, 1000}, {100000, 60000}, {7777, 3600000}, {5000000, 86400000}, {3, 1000}});
        }
        return any_of<rate>({{1, 1000}, {10, 1000}, {3, 1000}, {7, 60000}, {1000, 1000}});
    }

    limits any_limits(uint64_t rareness)
    {
        limits l;
        if (one_in(rareness)) {
            l.requests = any_rate(false);
        }
        if (one_in(rareness)) {
            l.burst = static_cast<int64_t>(below(30));
        }
        if (one_in(rareness)) {
            l.concurrency = static_cast<int64_t>(below(20));
        }
        if (one_in(rareness)) {
            l.tokens = any_rate(true);
        }
        if (one_in(rareness)) {
            l.token_burst = any_of<int64_t>({0, 50, 5000, 1000000});
        }
        if (one_in(rareness)) {
            l.window = static_cast<quota_window>(1 + below(5));
            l.quota = any_of<uint64_t>({0, 5000, 1000000, 100000000});
            if (l.window == quota_window::total) {
                l.quota *= 1000;
            }
        }
        return l;
    }

    // Other limits and users for every key, other rules for every location; sometimes the same again.
    void reload()
    {
        if (!one_in(3) || file_.keys.empty()) {
            file_ = file_of("keys.json", n_keys);
            for (key_record& k : file_.keys) {
                k.policy = static_cast<uint32_t>(file_.policies.size());
                file_.policies.push_back({any_limits(one_in(2) ? 4 : 100), {}, {}});
                k.user = one_in(6) ? "" : "user" + std::to_string(below(3));
            }
            for (auto& rules : locations_) {
                rules.clear();
                for (uint64_t i = below(7); i > 0; i--) {
                    rules.push_back(
                        {static_cast<subject_kind>(1 + below(5)), any_limits(3), one_in(5), one_in(3)});
                }
            }
        }
        zone_.publish(file_);
    }

    struct request {
        admission_request real;
        reference::ask simple;
    };

    request make_request(uint64_t key, size_t location, uint64_t tokens)
    {
        static const std::string models[] = {"small", "large", std::string(max_name, 'x'), ""};
        static constexpr uint8_t addresses[][16] = {{10, 0, 0, 1},
                                                    {10, 0, 0, 2},
                                                    {0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 9, 9},
                                                    {0x20, 1, 0xd, 0xb8, 1, 2, 3, 4}};
        size_t address = below(4);
        const std::string& model = models[below(4)];
        const auto& rules = locations_[location];

        request r{zone_.request(key, model, static_cast<uint32_t>(below(n_owners))), {}};
        r.real.address = {addresses[address], address < 2 ? size_t{4} : 16};
        r.real.now_ms = unix_ms_;
        r.real.now_ns = ns_;
        r.real.rules = rules;
        r.real.estimate = tokens;
        r.real.weights = {any_of<uint32_t>({1000, 500}), any_of<uint32_t>({1000, 100, 0}),
                          any_of<uint32_t>({1000, 4000})};

        reference::ask& a = r.simple;
        const key_record& k = file_.keys[key];
        auto has = [&](subject_kind scope) {
            return std::any_of(rules.begin(), rules.end(), [&](auto& rule) { return rule.scope() == scope; });
        };
        a.who.push_back({subject_kind::key, k.name});
        if (!k.user.empty()) {
            a.who.push_back({subject_kind::user, k.user});
        }
        if (has(subject_kind::model)) {
            a.who.push_back({subject_kind::model, model});
        }
        if (has(subject_kind::address)) {
            size_t bytes = address < 2 ? 4 : 8;
            a.who.push_back(
                {subject_kind::address, {reinterpret_cast<const char*>(addresses[address]), bytes}});
        }
        if (has(subject_kind::zone)) {
            a.who.push_back({subject_kind::zone, ""});
        }
        a.of_key = file_.policies[k.policy].limit;
        a.rules = rules;
        a.estimate = tokens;
        a.weights = r.real.weights;
        a.owner = r.real.owner;
        a.ns = ns_;
        a.unix_ms = unix_ms_;
        return r;
    }

    uint64_t any_tokens()
    {
        return one_in(2000) ? below(1ull << 32) : below(any_of<uint64_t>({1, 50, 2000, 20000}) + 1);
    }

    void admit()
    {
        request r = make_request(below(n_keys), below(3), any_tokens());
        if (one_in(2)) {
            zone_->prepare(r.real);
        }
        admission_result real = zone_.admit(r.real);
        reference::gate::answer simple = gate_.admit(r.simple);

        ASSERT_EQ(real.said == verdict::ok, simple.lease != nullptr);
        ASSERT_EQ(real.said == verdict::limited, simple.lease == nullptr);
        same(real.refused_by, simple.refused_by);
        ASSERT_EQ(real.dry_run_refusals, simple.dry_run_refusals);
        ASSERT_EQ(real.report.has_requests, simple.report.has_requests);
        ASSERT_EQ(real.report.requests_limit, simple.report.requests_limit);
        ASSERT_EQ(real.report.requests_remaining, simple.report.requests_remaining);
        ASSERT_EQ(real.report.requests_reset_ms, simple.report.requests_reset_ms);
        ASSERT_EQ(real.report.has_tokens, simple.report.has_tokens);
        ASSERT_EQ(real.report.tokens_limit, simple.report.tokens_limit);
        ASSERT_EQ(real.report.tokens_remaining, simple.report.tokens_remaining);
        ASSERT_EQ(real.report.tokens_reset_ms, simple.report.tokens_reset_ms);
        if (simple.lease) {
            simple.lease->real = real.taken;
        }
        admitted += real.said == verdict::ok;
        refused[static_cast<size_t>(real.refused_by.kind)]++;
        dry += real.dry_run_refusals != 0;
    }

    static void same(const limit_refusal& real, const limit_refusal& simple)
    {
        ASSERT_EQ(real.kind, simple.kind);
        ASSERT_EQ(real.scope, simple.scope);
        ASSERT_EQ(real.window, simple.window);
        ASSERT_EQ(real.limit, simple.limit);
        ASSERT_EQ(real.wait_ms, simple.wait_ms);
    }

    reference::running& any_lease()
    {
        auto it = gate_.leases.begin();
        std::advance(it, below(gate_.leases.size()));
        return *it;
    }

    // Its location may have other rules by now, and others for the subjects that it does not name.
    void extend()
    {
        reference::running& l = any_lease();
        uint64_t key = static_cast<uint64_t>(l.holds[0].who.second.back() - '0');
        request r = make_request(key, below(3), any_tokens());
        r.simple.who.clear();
        for (const auto& h : l.holds) {
            r.simple.who.push_back(h.who);
        }
        extension_result real = zone_->extend(*l.real, r.real, r.real.estimate);
        reference::gate::answer simple = gate_.extend(l, r.simple);
        ASSERT_EQ(real.exceeded, simple.refused_by.kind != limit_kind::none);
        ASSERT_EQ(real.cut, simple.cut);
        same(real.refused_by, simple.refused_by);
        ASSERT_EQ(real.dry_run_refusals, simple.dry_run_refusals);
        extended++;
        exceeded += real.exceeded;
        cut += real.cut;
    }

    token_counts any_usage()
    {
        uint64_t prompt = any_tokens();
        return {prompt, below(prompt + 1), any_tokens(), 0};
    }

    void progress()
    {
        reference::running& l = any_lease();
        l.progress = any_usage();
        l.real->set_progress(l.progress);
    }

    void settle()
    {
        reference::running& l = any_lease();
        token_counts used = one_in(10) ? token_counts{} : any_usage();
        zone_->settle(*l.real, used, {ns_, unix_ms_});
        gate_.settle(l, used, ns_, unix_ms_);
        settled++;
    }

    void kill_owner()
    {
        auto owner = static_cast<uint32_t>(below(n_owners));
        moment now{ns_, unix_ms_};
        zone_->take_back(owner, {owner + 1, 0}, now, [&](auto&& change) {
            zone_->enter();
            change();
            if (one_in(2)) { // the one who takes back is killed when it is done
                zone_->leave();
            }
        });
        // In the order of the records, as the engine does it.
        std::map<lease*, reference::running*> in_order;
        for (reference::running& l : gate_.leases) {
            if (l.owner == owner) {
                in_order[l.real] = &l;
            }
        }
        for (auto& [real, l] : in_order) {
            gate_.settle(*l, l->progress, ns_, unix_ms_);
        }
        ASSERT_EQ(zone_->claim_owner({owner + 1, 0}), owner);
    }

    std::mt19937_64 random_;
    shared_zone zone_;
    key_file file_;
    std::vector<limit_rule> locations_[3];
    reference::gate gate_;
    uint64_t ns_ = 1000000000;
    uint64_t rest_ns_ = 0;
    int64_t unix_ms_ = 1709164800000; // 29 February 2024
};

} // namespace

TEST(admission_model, agrees_with_the_reference_at_every_step)
{
    auto clock = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    uint64_t seed = from_environment("ADMISSION_SEED", clock);
    uint64_t steps = from_environment("ADMISSION_STEPS", 1000000);
    printf("ADMISSION_SEED=%llu\n", static_cast<unsigned long long>(seed));

    model m(seed);
    for (uint64_t i = 0; i < steps; i++) {
        m.step();
        if (i % 64 == 0) {
            m.compare_all();
        }
        if (testing::Test::HasFatalFailure()) {
            FAIL() << "at step " << i;
        }
    }
    printf("admitted %lu, refused for requests %lu, tokens %lu, concurrency %lu, quota %lu; dry runs %lu; "
           "extended %lu, beyond a limit %lu, cut %lu; settled %lu\n",
           m.admitted, m.refused[1], m.refused[2], m.refused[3], m.refused[4], m.dry, m.extended, m.exceeded,
           m.cut, m.settled);
    if (steps >= 1000000) {
        EXPECT_GT(m.admitted, steps / 50);
        for (size_t kind = 1; kind < 5; kind++) {
            EXPECT_GT(m.refused[kind], steps / 1000);
        }
        EXPECT_GT(m.cut, steps / 10000);
        EXPECT_GT(m.dry, steps / 1000);
    }
}
