// Whether a process still runs, which its pid alone does not tell: pids are used again.
#pragma once

#include <cstdint>

namespace llm {

// In clock ticks since boot: field 22 of /proc/PID/stat. 0 if it can't be read (no /proc, or hidden from this
// user).
uint64_t start_time_of(uint32_t pid);

// True if it is sure that the process which started then is gone: there is none of this pid, or one that
// started at another time, be it another user's, or one that has ended and is not reaped yet. `started` is 0
// where it is not known.
bool is_gone(uint32_t pid, uint64_t started);

} // namespace llm
