// What is measured: workers' CPU time and memory while sessions keep them at work.
#pragma once

#include "session.h"

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

struct measurement {
    workload work;
    std::vector<gateway> gateways;
    std::uint64_t requests = 1; // of each gateway; in `turns`: of each turn
    std::uint64_t rounds = 1;
    unsigned slot_ms = 35; // of `slots`
    int timeout_s = 120;
    // Of scrapes only, see scrape.h.
    std::uint64_t rate = 2000; // requests a second
    std::uint64_t window_s = 4;
    std::vector<std::string> scrapes;
};

// All return the exit status.

// One gateway, all requests at once. Prints one line of name=value pairs; memory is taken when all
// connections have begun to get a reply, which for streams means: while all of them run.
int measure_once(const measurement& m);

// Gateways in turn, a few milliseconds each, so that what disturbs the machine hits all of them alike. Prints
// name,round,CPU ns,requests,us.
int measure_in_turns(const measurement& m);

// All streams of all gateways are open all the time; the upstream lets only one gateway's streams flow at a
// time, one slot each. Prints name,round,CPU ns,events,0.
int measure_in_slots(const measurement& m);

// Windows of `window_s` seconds in turn, with requests that begin at a fixed rate, whether those before them
// have ended or not, and are timed from when they were due. Prints name,round,what,ns,units: p50, p99 and
// p99.9 of each window with one unit each, and the CPU time (`cpu`) of the window's requests.
int measure_at_rate(const measurement& m);

} // namespace bench
