#include "bench_key.h"
#include "measure.h"
#include "scrape.h"
#include "upstream.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

int usage()
{
    std::fputs("usage: bench_load upstream PORT [sleeping]\n"
               "       bench_load keys|names COUNT > FILE\n"
               "       bench_load once|turns|slots|rate NAME:PORT:PID[+PID]...[:FEWER]... [path=..] "
               "[connections=N] [requests=N] "
               "[keys=N]\n"
               "                  [distinct=N] [prompt=BYTES] [rounds=N] [timeout=SECONDS] [slot=MS] "
               "[refusal=STATUS] "
               "[key=unknown]\n"
               "                  [header@NAME=LINE]... [rate=N] [window=SECONDS]\n"
               "       bench_load scrapes NAME:PORT:PID scrape=PATH|-|stop:PID|keys:FILE... [rate=N] "
               "[window=SECONDS] [models=N], "
               "and those\n",
               stderr);
    return 2;
}

unsigned long long number(std::string_view text)
{
    return std::strtoull(text.data(), nullptr, 10);
}

bool set_option(bench::measurement& m, std::string_view name, std::string_view value)
{
    if (name == "path") {
        m.work.path = value;
    } else if (name == "connections") {
        m.work.connections = static_cast<unsigned>(number(value));
    } else if (name == "requests") {
        m.requests = number(value);
    } else if (name == "keys") {
        m.work.keys = number(value);
    } else if (name == "distinct") {
        m.work.distinct = number(value);
    } else if (name == "models") {
        m.work.models = number(value);
    } else if (name == "prompt") {
        m.work.prompt = number(value);
    } else if (name == "scrape") {
        m.scrapes.emplace_back(value);
    } else if (name == "rate") {
        m.rate = number(value);
    } else if (name == "window") {
        m.window_s = number(value);
    } else if (name == "rounds") {
        m.rounds = number(value);
    } else if (name == "slot") {
        m.slot_ms = static_cast<unsigned>(number(value));
    } else if (name == "refusal") {
        m.work.refusal = static_cast<int>(number(value));
    } else if (name == "key") {
        m.work.unknown_key = value == "unknown";
    } else if (name.starts_with("header@")) {
        for (bench::gateway& g : m.gateways) {
            g.headers += g.name == name.substr(7) ? std::string(value) + "\r\n" : "";
        }
    } else if (name == "timeout") {
        m.timeout_s = static_cast<int>(number(value));
    } else {
        return false;
    }
    return true;
}

bool add_gateway(bench::measurement& m, std::string_view text)
{
    const std::size_t first = text.find(':');
    const std::size_t second = text.find(':', first + 1);
    if (second == text.npos) {
        return false;
    }
    bench::gateway g;
    g.name = text.substr(0, first);
    g.port = static_cast<std::uint16_t>(number(text.substr(first + 1)));
    const std::size_t third = std::min(text.find(':', second + 1), text.size());
    for (std::size_t at = second; at < third; at = std::min(text.find('+', at + 1), third)) {
        if (const auto pid = static_cast<int>(number(text.substr(at + 1))); pid > 0) {
            g.workers.push_back(pid);
        }
    }
    g.fewer = third == text.size() ? 1 : number(text.substr(third + 1));
    m.gateways.push_back(std::move(g));
    return m.gateways.back().fewer > 0;
}

bool read_arguments(bench::measurement& m, int argc, char** argv)
{
    for (int i = 2; i < argc; ++i) {
        const std::string_view text = argv[i];
        const std::size_t sign = text.find('=');
        if (sign == text.npos ? !add_gateway(m, text)
                              : !set_option(m, text.substr(0, sign), text.substr(sign + 1))) {
            return false;
        }
    }
    return !m.gateways.empty() && m.work.connections > 0 && m.work.distinct > 0
           && m.work.distinct <= m.work.keys;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 3) {
        return usage();
    }
    std::signal(SIGPIPE, SIG_IGN);
    bench::raise_open_files();
    const std::string_view what = argv[1];
    if (what == "upstream") {
        bench::poller::may_sleep = bench::poller::may_sleep || argc > 3;
        return bench::run_upstream(static_cast<std::uint16_t>(number(argv[2])));
    }
    if (what == "keys") {
        return bench::write_key_file(number(argv[2]));
    }
    if (what == "names") {
        return bench::write_key_names(number(argv[2]));
    }
    bench::measurement m;
    if (!read_arguments(m, argc, argv)) {
        return usage();
    }
    return what == "once"      ? bench::measure_once(m)
           : what == "turns"   ? bench::measure_in_turns(m)
           : what == "slots"   ? bench::measure_in_slots(m)
           : what == "rate"    ? bench::measure_at_rate(m)
           : what == "scrapes" ? bench::measure_scrapes(m)
                               : usage();
}
