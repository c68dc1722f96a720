// One turn of the store: what it has found, and how far it is.
#pragma once

#include "running.h"
#include "zones.h"

#include <chrono>
#include <cstdint>
#include <ctime>
#include <vector>

namespace llm {

struct state_turn {
    using clock = std::chrono::steady_clock;

    // That this thread has had.
    static uint64_t cpu_ms()
    {
        timespec t{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
    }

    database& db;
    shared_state& zone;
    const moment& now;
    const zone_lock& lock;
    bool is_new; // nobody else uses the zone yet
    uint64_t began_ms = cpu_ms();
    clock::time_point end = clock::time_point::max();

    zone_row row{};
    int64_t current = 0; // zone that counters belong to
    int64_t carried = 0; // imported of what is carried to this one
    bool has_carry = false;
    std::vector<subject_state> states{};
    std::vector<running_request> running{};
    bool subjects_whole = false;
    bool is_opened = false; // just now
    bool wrote = false;
    bool capped = false;
    bool more = false;

    bool is_current() const { return row.id == current; }
    bool is_late() const { return clock::now() >= end; }
};

} // namespace llm
