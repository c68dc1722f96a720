// One turn of the store: what it has found, and how far it is.
#pragma once

#include "running.h"
#include "zones.h"

#include <chrono>
#include <cstdint>
#include <ctime>
#include <vector>

namespace llm {

enum class turn_is : uint8_t {
    first, // nobody else uses the zone yet
    usual,
    last // nobody writes after it
};

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
    turn_is is;
    uint64_t began_ms = cpu_ms();
    clock::time_point end = clock::time_point::max();

    zone_row row{};
    int64_t current = 0; // zone that counters belong to
    int64_t carried = 0; // imported of what is carried to this one
    bool has_carry = false;
    std::vector<subject_state> states{};
    std::vector<running_request> running{};
    bool subjects_whole = false;
    uint64_t fold_cpu_ms = 0; // that the journal took
    bool is_opened = false;   // just now
    bool is_over = false;     // the zone was closed before
    bool wrote = false;
    bool capped = false;
    bool more = false;

    bool is_current() const { return row.id == current; }
    bool is_late() const { return clock::now() >= end; }
};

} // namespace llm
