#include "measure.h"

#include <algorithm>
#include <cstdio>
#include <deque>

namespace bench {
namespace {

unsigned long long u(std::int64_t v)
{
    return static_cast<unsigned long long>(v);
}

std::int64_t quantile(const std::vector<std::int64_t>& sorted, double q)
{
    return sorted.empty() ? 0 : sorted[static_cast<std::size_t>(static_cast<double>(sorted.size() - 1) * q)];
}

struct window {
    std::vector<std::int64_t> times; // us, from when each was due
    std::uint64_t cpu_ns = 0;
};

// False if it failed.
bool run(loop& l, session& s, const measurement& m, window& to)
{
    const std::uint64_t rate = std::max<std::uint64_t>(m.rate / s.where().fewer, 1);
    const std::uint64_t first = s.count().asked;
    const std::uint64_t count = rate * m.window_s;
    const std::uint64_t cpu_before = cpu_ns_of(s.where().workers);
    const std::int64_t begin = now_us();
    const auto due = [&](std::uint64_t n) { return begin + static_cast<std::int64_t>(n * 1000000 / rate); };
    s.on_done = [&](std::uint64_t number) { to.times.push_back(now_us() - due(number - first)); };
    for (std::uint64_t asked = 0; (asked < count || !s.idle()) && !l.failed();) {
        for (const std::int64_t now = now_us(); asked < count && due(asked) <= now; ++asked) {
            s.allow(1);
        }
        const std::int64_t next = asked < count ? due(asked) : now_us() + 100000;
        l.wait_us(std::max<std::int64_t>(next - now_us(), 0));
        if (now_us() > due(count) + std::int64_t{m.timeout_s} * 1000000) {
            l.fail("took too long", s);
        }
    }
    s.on_done = nullptr;
    to.cpu_ns = cpu_ns_of(s.where().workers) - cpu_before;
    std::sort(to.times.begin(), to.times.end());
    return !l.failed();
}

void print(const gateway& of, std::uint64_t round, const window& w)
{
    const auto row = [&](const char* what, std::uint64_t ns, std::uint64_t units) {
        std::printf("%s,%llu,%s,%llu,%llu\n", of.name.c_str(), static_cast<unsigned long long>(round), what,
                    static_cast<unsigned long long>(ns), static_cast<unsigned long long>(units));
    };
    row("p50", u(quantile(w.times, 0.5) * 1000), 1);
    row("p99", u(quantile(w.times, 0.99) * 1000), 1);
    row("p99.9", u(quantile(w.times, 0.999) * 1000), 1);
    row("cpu", w.cpu_ns, w.times.size());
}

} // namespace

int measure_at_rate(const measurement& m)
{
    poller::may_sleep = true;
    loop l;
    std::deque<session> sessions;
    for (const gateway& g : m.gateways) {
        sessions.emplace_back(l, g, m.work);
    }
    const std::size_t n = sessions.size();
    // The first two rounds warm up. The order is that of turns.
    for (std::uint64_t round = 0; round < m.rounds + 2; ++round) {
        for (std::size_t i = 0; i < n; ++i) {
            session& s = sessions[((round % 2 == 0 ? i : n - 1 - i) + round / 2 + n - 1) % n];
            window w;
            if (!run(l, s, m, w)) {
                return 1;
            }
            if (round >= 2) {
                print(s.where(), round - 2, w);
            }
        }
    }
    return 0;
}

} // namespace bench
