// The clocks of a decision.
#pragma once

#include "ngx.hpp"

#include "core/limit/limits.h"

#include <ctime>

namespace llm {

inline int64_t wall_clock_ms()
{
    ngx_time_t* now = ngx_timeofday();
    return int64_t{now->sec} * 1000 + static_cast<int64_t>(now->msec);
}

#if !(NGX_HAVE_CLOCK_MONOTONIC)
#error "nginx is to be built with a monotonic clock: time_of_event() is that one's"
#endif

// Both clocks, as nginx has read them for the event that it handles: some milliseconds ago at most, if the
// worker is busy. For what no decision hangs on.
inline moment time_of_event()
{
    return {static_cast<uint64_t>(ngx_current_msec) * 1000000, wall_clock_ms()};
}

// The monotonic clock is read anew: nginx's own time is each worker's, and as old as its last event.
inline moment now_of_both_clocks()
{
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return {static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec), wall_clock_ms()};
}

} // namespace llm
