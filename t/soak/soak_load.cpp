// The load of t/soak.t, see there.
//
// usage: soak_load GATEWAY-PORT UPSTREAM-PORT SEED RUN REQUESTS LIMIT... > report
//
// RUN is a letter that ids of requests begin with. Runs until so many requests have reached the upstream.
// Says "tick" after each 1000 of them, then "ended" and what it saw as JSON, and then for each request that
// reached the upstream or was sent and not answered: id, key, tokens of the upstream's last reply, 1 if it
// reached the upstream, 1 if its client has the whole reply.
#include "clients.h"
#include "upstream.h"

#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace {

using namespace soak;

constexpr unsigned at_once = 56;
constexpr std::uint64_t tick = 1000; // requests
constexpr std::int64_t patience_ms = 30000;

void report(const clients& c, const upstream& u, std::int64_t took_ms)
{
    std::printf("ended\n{\"reached\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"whole\":%" PRIu64
                ",\"clients_left\":%" PRIu64 ",\"broken\":%" PRIu64 ",\"replies\":%" PRIu64
                ",\"upstream_cut\":%" PRIu64 ",\"upstream_given_up\":%" PRIu64 ",\"milliseconds\":%" PRId64,
                u.reached(), c.refused(), c.whole(), c.left(), c.broken(), u.replies(), u.cut(), u.left(),
                took_ms);
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
        if (e.reached || (e.sent && e.status == 0)) {
            std::printf("%s%" PRIu64 " %u %u %d %d\n", run, n, e.what.who[by_key], e.tokens, e.reached,
                        e.received);
        }
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
    report(c, u, bench::now_ms() - start);
    list(all, argv[4]);
    return 0;
}
