#include "plan.h"

#include <random>

namespace soak {

namespace {

// For so many requests one of all subjects is wanted most.
constexpr std::uint64_t fashion = 400;

class dice {
public:
    dice(std::uint64_t seed, std::uint64_t number) : engine_(seed * 0x9e3779b97f4a7c15u + number) {}

    unsigned below(unsigned n) { return static_cast<unsigned>(engine_() % n); }
    unsigned between(unsigned low, unsigned high) { return low + below(high - low + 1); }
    bool percent(unsigned n) { return below(100) < n; }

private:
    std::mt19937_64 engine_;
};

void choose_subjects(plan& p, std::uint64_t seed, std::uint64_t number, dice& d)
{
    p.who = {d.below(subjects[by_key]), 0, d.below(subjects[by_model]), d.below(subjects[by_address]), 0};
    dice wanted(~seed, number / fashion);
    const unsigned which = wanted.below(scopes);
    const unsigned who = wanted.below(subjects[which]);
    if (d.percent(70)) {
        if (which == by_user) {
            p.who[by_key] = 2 * who + d.below(2);
        } else {
            p.who[which] = who;
        }
    }
    p.who[by_user] = p.who[by_key] / 2;
}

} // namespace

plan plan::draw(std::uint64_t seed, std::uint64_t number)
{
    static constexpr const char* paths[] = {"/direct", "/direct",  "/direct", "/rewritten",
                                            "/accel",  "/instead", "/named"};
    dice d(seed, number);
    plan p;
    choose_subjects(p, seed, number, d);
    p.path = paths[d.below(std::size(paths))];
    p.stream = d.percent(50);
    p.prompt = d.between(1, 10);
    p.completion = d.between(1, 20);
    p.max_tokens = d.between(1, 30); // some streams outgrow what is reserved for them

    const std::size_t bytes = p.request(std::to_string(number)).size();
    if (d.percent(20)) {
        p.split = d.below(static_cast<unsigned>(bytes));
        p.split_ms = d.below(3);
    }
    switch (d.below(10)) {
    case 0:
        p.leaves_after_sent = d.below(static_cast<unsigned>(bytes));
        p.leaves_in_ms = d.below(3);
        break;
    case 1: // the upstream has it by then, or is about to
        p.leaves_after_sent = bytes;
        p.leaves_in_ms = d.below(8);
        break;
    case 2:
        p.leaves_after_received = d.between(1, p.stream ? 2000 : 500);
        break;
    default:
        break;
    }
    p.client_resets = d.percent(50);
    p.client_stays_connected = d.percent(50);

    p.slices = d.between(1, 4);
    p.slice_ms = d.below(3);
    if (d.percent(15)) {
        p.cuts_at = d.below(1000);
    } else if (d.percent(3)) {
        p.fails = true;
    }
    p.upstream_resets = d.percent(50);
    p.cuts_first = d.percent(50);
    return p;
}

std::string plan::request(std::string_view id) const
{
    const std::string body = R"({"model":"m)" + std::to_string(who[by_model])
                             + R"(","messages":[{"role":"user","content":"hi"}],"max_tokens":)"
                             + std::to_string(max_tokens)
                             + (stream ? R"(,"stream":true,"stream_options":{"include_usage":true,)"
                                         R"("continuous_usage_stats":true}})"
                                       : "}");
    return "POST " + path + " HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer sk-k"
           + std::to_string(who[by_key]) + "\r\nX-Real-IP: 10.1.0." + std::to_string(who[by_address])
           + "\r\nX-Test: " + std::string(id) + "\r\nContent-Type: application/json\r\nContent-Length: "
           + std::to_string(body.size()) + "\r\n\r\n" + body;
}

} // namespace soak
