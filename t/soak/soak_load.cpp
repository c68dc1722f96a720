// The load of t/soak.t, see there.
//
// usage: soak_load GATEWAY-PORT UPSTREAM-PORT SEED RUN REQUESTS LIMIT... > report
//
// RUN is a letter that ids of requests begin with. Runs until so many requests have reached the upstream.
// Says "tick" after each 1000 of them, then "ended" and what it saw as JSON, and then a line for each request
// of which so much was sent that it may count; the fields are named in list().
#include "clients.h"
#include "upstream.h"

#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace {

using namespace soak;

constexpr unsigned at_once = 56;
constexpr std::uint64_t tick = 1000; // requests
constexpr std::int64_t patience_ms = 30000;

std::uint64_t altered(const ledger& all)
{
    return static_cast<std::uint64_t>(std::ranges::count_if(all, [](const entry& e) { return e.altered; }));
}

void report(const clients& c, const upstream& u, const ledger& all, std::int64_t took_ms)
{
    std::printf("ended\n{\"sent\":%zu,\"altered\":%" PRIu64 ",\"reached\":%" PRIu64 ",\"refused\":%" PRIu64
                ",\"whole\":%" PRIu64 ",\"clients_left\":%" PRIu64 ",\"broken\":%" PRIu64
                ",\"replies\":%" PRIu64 ",\"upstream_cut\":%" PRIu64 ",\"upstream_given_up\":%" PRIu64
                ",\"milliseconds\":%" PRId64,
                all.size(), altered(all), u.reached(), c.refused(), c.whole(), c.left(), c.broken(),
                u.replies(), u.cut(), u.left(), took_ms);
    const holds& h = u.held();
    std::printf(",\"exceeded\":%" PRIu64 ",\"second_looks\":%" PRIu64 ",\"longest_look_ms\":%" PRId64
                ",\"held\":%u",
                h.exceeded(), h.second_looks(), h.longest_look_ms(), h.now());
    for (unsigned of = 0; of < scopes; of++) {
        std::printf(",\"%s\":{\"peak\":%u,\"times\":%" PRIu64 "}", scope_names[of], h.peak(of),
                    h.times_at_limit(of));
    }
    std::printf("}\n");
}

void list(const ledger& all, const char* run)
{
    for (std::uint64_t n = 0; n < all.size(); n++) {
        const entry& e = all[n];
        if (!e.head_sent) {
            continue;
        }
        const plan& p = e.what;
        const fate_row& row = row_of(p.meets);
        const std::string key = row.key ? row.key : "k" + std::to_string(p.who[by_key]);
        // id key model dialect reason status reached received tells ends_badly
        std::printf("%s%" PRIu64 " %s %s %u %s %d %d %d %d %d", run, n, key.empty() ? "-" : key.c_str(),
                    p.model().c_str(), static_cast<unsigned>(p.speaks), row.reason ? row.reason : "-",
                    e.status, e.reached, e.received, e.tells, e.ends_badly);
        // told_all cached cache_write reasoning, and ranges of prompt and completion: of a whole reply
        const charge& w = e.whole;
        std::printf(" %d %u %u %u %zu %zu %zu %zu", w.told_all, w.told.cached, w.told.cache_write,
                    w.told.reasoning, w.prompt.low, w.prompt.high, w.completion.low, w.completion.high);
        // may_be_none may_be_lost, and these ranges: of one that is not; what was generated
        std::printf(" %d %d %zu %zu %zu %zu %u %u\n", e.part.may_be_none, e.part.may_be_lost,
                    e.part.prompt.low, e.part.prompt.high, e.part.completion.low, e.part.completion.high,
                    p.used.prompt, p.used.completion);
    }
}

} // namespace

int main(int argc, char** argv)
{
    if (argc != 6 + scopes) {
        std::fputs("usage: soak_load GATEWAY-PORT UPSTREAM-PORT SEED RUN REQUESTS LIMIT...\n", stderr);
        return 2;
    }
    const auto number = [&](int n) { return std::strtoull(argv[n], nullptr, 10); };
    std::signal(SIGPIPE, SIG_IGN);
    const std::uint64_t wanted = number(5);
    limit_set limits;
    for (unsigned of = 0; of < scopes; of++) {
        limits[of] = static_cast<unsigned>(number(6 + static_cast<int>(of)));
    }

    bench::poller poller;
    ledger all;
    upstream u(poller, static_cast<std::uint16_t>(number(2)), limits, argv[4], all);
    if (!u.listens()) {
        std::perror("upstream");
        return 1;
    }
    clients c(poller, static_cast<std::uint16_t>(number(1)), at_once, number(3), argv[4], all);

    const std::int64_t start = bench::now_ms();
    std::int64_t last_progress = start;
    std::uint64_t reached = 0;
    std::uint64_t told = 0;
    for (bool over = false; !over;) {
        poller.wait(1, [&](int fd, std::uint32_t events) {
            if (u.owns(fd)) {
                u.ready(fd);
            } else {
                c.ready(fd, events);
            }
        });
        const std::int64_t now = bench::now_ms();
        u.tick(now);
        c.tick(now);
        if (u.reached() != reached) {
            reached = u.reached();
            last_progress = now;
        }
        for (; reached >= told + tick; told += tick) {
            std::puts("tick");
            std::fflush(stdout);
        }
        if (reached >= wanted) {
            c.stop();
            over = c.idle() && u.held().now() == 0;
        }
        if (now - last_progress > patience_ms) {
            std::fprintf(stderr,
                         "nothing happens any more: %" PRIu64
                         " requests reached the upstream, which holds %u\n",
                         reached, u.held().now());
            return 1;
        }
    }
    report(c, u, all, bench::now_ms() - start);
    list(all, argv[4]);
    return 0;
}
