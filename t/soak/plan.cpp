#include "plan.h"

#include "requests.h"

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

void choose_request(plan& p, dice& d)
{
    static constexpr const char* places[] = {"/direct",    "/direct", "/off",     "/continuous",
                                             "/rewritten", "/accel",  "/instead", "/named"};
    // Half of all requests are for chat, as it is in life.
    p.speaks = static_cast<dialect>(d.percent(40) ? 0 : d.below(dialects));
    p.place = places[d.below(std::size(places))];
    p.stream = generates(p.speaks) && d.percent(60);
    p.asks_usage = d.percent(30);
    p.asks_running = p.asks_usage && d.percent(30);
    p.prompt_bytes = d.between(1, 200);
    p.max_tokens = d.between(1, 30); // some streams outgrow what is reserved for them
    if (d.percent(10)) {
        p.meets = static_cast<fate>(d.between(1, fates - 1));
        p.place = p.meets == fate::too_large || p.meets == fate::too_large_chunked ? "/small" : p.place;
    }
}

void choose_reply(plan& p, dice& d)
{
    p.details = d.percent(50);
    p.used.prompt = d.between(3, 30);
    const bool tells_cached = p.details && p.speaks <= dialect::messages;
    p.used.cached =
        (tells_cached || p.speaks == dialect::gemini) && d.percent(50) ? d.below(p.used.prompt) : 0;
    const bool writes = p.details && p.speaks == dialect::messages && d.percent(50);
    p.used.cache_write = writes ? d.below(p.used.prompt - p.used.cached) : 0;
    p.used.completion = generates(p.speaks) ? d.between(1, 20) : 0;
    const bool tells_reasoning = p.details && p.speaks <= dialect::responses;
    const bool reasons =
        (tells_reasoning || p.speaks == dialect::gemini) && p.used.completion > 1 && d.percent(30);
    p.used.reasoning = reasons ? d.below(p.used.completion) : 0;
    p.grain = d.between(1, 3);
    p.tells = static_cast<telling>(d.percent(40) ? 0 : d.below(4));
    p.hides_prompt = d.percent(15);
    p.cut_short = d.percent(10);
    p.array = d.percent(50);
    p.headers = d.percent(50);
    p.crlf = d.percent(15);
    p.breaks_after = d.percent(4) ? d.between(1, 10) : 0;
}

void choose_accidents(plan& p, dice& d)
{
    const auto bytes = static_cast<unsigned>(request_of(p, "a100000").bytes.size());
    if (d.percent(20)) {
        p.split = d.below(bytes);
        p.split_ms = d.below(3);
    }
    switch (d.below(10)) {
    case 0:
        p.leaves_after_sent = d.below(bytes);
        p.leaves_in_ms = d.below(3);
        break;
    case 1: // the upstream has it by then, or is about to
        p.leaves_after_sent = bytes;
        p.leaves_in_ms = d.below(8);
        break;
    case 2:
        p.leaves_after_received = d.between(1, p.stream ? 3000 : 500);
        break;
    default:
        break;
    }
    p.client_resets = d.percent(50);
    p.client_stays_connected = d.percent(50);

    p.slices = d.between(1, 6);
    p.slice_ms = d.below(3);
    if (d.percent(15)) {
        p.cuts_at = d.below(1000);
    } else if (d.percent(5)) {
        p.fails = d.percent(50) ? 500 : 400;
    }
    p.upstream_resets = d.percent(50);
    p.cuts_first = d.percent(50);
}

} // namespace

const fate_row& row_of(fate f)
{
    static constexpr fate_row rows[] = {
        {nullptr, nullptr, nullptr},
        {"", "", "no_key"},
        {"sk-nobody", "", "invalid_key"},
        {"sk-off", "off", "disabled"},
        {"sk-old", "old", "expired"},
        {"sk-some", "some", "model"},
        {"sk-few", "few", "requests"},
        {"sk-spent", "spent", "quota"},
        {nullptr, nullptr, "bad_request"},
        {nullptr, "", "bad_request"}, // nginx refuses it before it asks for a key
        {nullptr, nullptr, "bad_request"},
    };
    static_assert(std::size(rows) == fates);
    return rows[static_cast<unsigned>(f)];
}

plan plan::draw(std::uint64_t seed, std::uint64_t number)
{
    dice d(seed, number);
    plan p;
    choose_subjects(p, seed, number, d);
    choose_request(p, d);
    choose_reply(p, d);
    choose_accidents(p, d);
    return p;
}

bool plan::makes_two() const
{
    return place == "/accel" || place == "/instead" || place == "/named";
}

} // namespace soak
