#include "measure.h"

#include "proc_info.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <time.h>

namespace bench {
namespace {

void rest_ms(long ms)
{
    const timespec rest{0, ms * 1000 * 1000};
    ::nanosleep(&rest, nullptr);
}

unsigned long long u(std::uint64_t v)
{
    return v;
}

std::uint64_t less(std::uint64_t n, const gateway& of)
{
    return std::max<std::uint64_t>(n / of.fewer, 1);
}

void print_row(const gateway& of, std::uint64_t round, std::uint64_t cpu_ns, std::uint64_t units,
               std::int64_t took_us = 0)
{
    std::printf("%s,%llu,%llu,%llu,%llu\n", of.name.c_str(), u(round), u(cpu_ns), u(units),
                u(static_cast<std::uint64_t>(took_us)));
}

bool as_wanted(loop& l, const std::deque<session>& sessions)
{
    for (const session& s : sessions) {
        if (!s.refused_as_wanted()) {
            l.fail("not refused", s);
        }
    }
    return !l.failed();
}

class deadline {
public:
    explicit deadline(const measurement& m) : at_(now_ms() + m.timeout_s * 1000) {}
    bool check(loop& l, const session& s) const
    {
        if (now_ms() > at_) {
            l.fail("took too long", s);
        }
        return !l.failed();
    }

private:
    std::int64_t at_;
};

// std::deque: sessions do not move.
std::deque<session> make_sessions(loop& l, const measurement& m)
{
    std::deque<session> sessions;
    for (const gateway& g : m.gateways) {
        sessions.emplace_back(l, g, m.work);
    }
    return sessions;
}

} // namespace

int measure_once(const measurement& m)
{
    loop l;
    session s(l, m.gateways.front(), m.work);
    const process_group& worker = m.gateways.front().workers;
    const deadline limit(m);
    const proc_info before = inspect(worker);
    proc_info peak;
    s.allow(m.requests);
    while (!s.idle() && limit.check(l, s)) {
        l.wait(100);
        if (peak.cpu_ns == 0 && s.count().begun == m.work.connections && s.count().done == 0) {
            peak = inspect(worker);
        }
    }
    rest_ms(30);
    const counters& c = s.count();
    std::printf(
        "done=%llu events=%llu prompt=%llu completion=%llu cpu_ns=%llu anon_kb=%llu peak_anon_kb=%llu\n",
        u(c.done), u(c.events), u(c.used.prompt), u(c.used.completion), u(cpu_ns_of(worker) - before.cpu_ns),
        u(before.anon_kb), u(peak.anon_kb));
    return l.failed() ? 1 : 0;
}

int measure_in_turns(const measurement& m)
{
    loop l;
    std::deque<session> sessions = make_sessions(l, m);
    const deadline limit(m);
    // Rounds go A B C, C B A, then B C A, A C B, ...: who has two turns in a row, one at the end of a round
    // and one at the beginning of the next, finds its caches warm, so each is that as often as the others.
    // The first two rounds warm up.
    const std::size_t n = sessions.size();
    constexpr std::uint64_t warm_up = 2;
    for (std::uint64_t round = 0; round < m.rounds + warm_up; ++round) {
        for (std::size_t i = 0; i < n; ++i) {
            session& s = sessions[((round % 2 == 0 ? i : n - 1 - i) + round / 2 + n - 1) % n];
            // Who gets fewer requests takes part in the rounds that warm up, in the first two after them, and
            // so on.
            if (round >= warm_up && (round / 2 - 1) % s.where().fewer != 0) {
                continue;
            }
            const std::uint64_t requests = less(m.requests, s.where());
            const std::uint64_t before = cpu_ns_of(s.where().workers);
            const std::int64_t begun = now_us();
            s.allow(requests);
            while (!s.idle() && limit.check(l, s)) {
                l.wait(100);
            }
            if (l.failed()) {
                return 1;
            }
            const std::int64_t took = now_us() - begun;
            rest_ms(2); // the worker writes its log and goes to sleep
            if (round >= warm_up) {
                print_row(s.where(), round - warm_up, cpu_ns_of(s.where().workers) - before, requests, took);
            }
        }
    }
    return as_wanted(l, sessions) ? 0 : 1;
}

int measure_in_slots(const measurement& m)
{
    loop l;
    std::deque<session> sessions;
    const std::string slots =
        "&slot=" + std::to_string(m.slot_ms) + "&of=" + std::to_string(m.gateways.size());
    for (const gateway& g : m.gateways) {
        workload work = m.work;
        work.connections = static_cast<unsigned>(less(work.connections, g));
        work.path += slots + "&at=" + std::to_string(sessions.size());
        sessions.emplace_back(l, g, work);
        sessions.back().allow(less(m.requests, g));
    }
    struct sample {
        std::uint64_t cpu_ns;
        std::uint64_t events;
    };
    std::vector<sample> last(sessions.size());
    const deadline limit(m);
    const auto all = [&sessions](auto&& holds) {
        return std::all_of(sessions.begin(), sessions.end(), holds);
    };
    std::int64_t slot = -1;
    std::uint64_t slots_seen = 0;
    std::uint64_t first_round = 0;
    while (!all([](const session& s) { return s.idle(); }) && limit.check(l, sessions.front())) {
        const std::int64_t now = now_ms();
        l.wait(static_cast<int>(m.slot_ms - now % m.slot_ms));
        const bool steady = all(
            [](const session& s) { return s.count().begun == s.what().connections && s.count().done == 0; });
        const std::int64_t current = now_ms() / m.slot_ms;
        if (current == slot || !steady) {
            continue;
        }
        // The gateway whose slot has just ended; its upstream fell silent some milliseconds before.
        const std::size_t i = static_cast<std::size_t>(slot) % sessions.size();
        const bool whole = current == slot + 1;
        slot = current;
        if (!whole) {
            slots_seen = 0;
            continue;
        }
        const sample s{cpu_ns_of(sessions[i].where().workers), sessions[i].count().events};
        const std::uint64_t round = static_cast<std::uint64_t>(current - 1) / sessions.size();
        first_round = first_round == 0 ? round : first_round;
        // The first sample of each gateway is only where the next one counts from.
        if (++slots_seen > sessions.size() && round - first_round <= m.rounds) {
            print_row(sessions[i].where(), round - first_round, s.cpu_ns - last[i].cpu_ns,
                      s.events - last[i].events);
        }
        last[i] = s;
    }
    return l.failed() ? 1 : 0;
}

} // namespace bench
