// The generic cell rate algorithm in integers: a limit's whole state is one number, the moment at which it
// will be wholly unused again (its "theoretical arrival time", TAT; 0 = never used).
//
// Time is nanoseconds of a monotonic clock. A clock that reads a little earlier than before (another
// processor's) is harmless: it lets in less, never more. All arithmetic saturates: what would not fit is for
// ever.
#pragma once

#include "limits.h"

#include <algorithm>
#include <cstdint>

namespace llm {

// A short name of an interval, never `none`. Two intervals may have the same.
enum class interval_label : uint16_t { none };

inline interval_label label_of(uint64_t interval_ns)
{
    return interval_label{static_cast<uint16_t>((interval_ns * 0x9e3779b97f4a7c15u) >> 48 | 1)};
}

// A limit. All that follows from it alone is here, so that no request reckons it again.
struct gcra {
    uint64_t interval_ns = 0; // of one unit; 0 = no limit
    uint64_t capacity = 0;    // units that may be taken at once
    uint64_t room_ns = 0;     // of all of them
    interval_label label = interval_label::none;

    // No limit where the rate is not given; else a capacity of at least one.
    static gcra of(const rate& r, uint64_t capacity)
    {
        if (r.amount == 0) {
            return {};
        }
        capacity = std::max<uint64_t>(capacity, 1);
        return {r.interval_ns, capacity, multiply_up(capacity, r.interval_ns), label_of(r.interval_ns)};
    }

    bool limits() const { return interval_ns != 0; }

    struct view {
        bool allowed;
        uint64_t wait_ns;  // until as much would be allowed, if nobody else takes; forever if never
        uint64_t used_ns;  // until all of the capacity is there
        uint64_t after_ns; // the same, once so much is taken
    };

    view look(uint64_t tat, uint64_t now, uint64_t units) const
    {
        uint64_t used = tat > now ? tat - now : 0;
        uint64_t cost = multiply_up(units, interval_ns);
        uint64_t after = 0;
        // What does not fit into the sum is not allowed either, be there room for ever.
        bool fits = !__builtin_add_overflow(used, cost, &after);
        if (fits && after <= room_ns) [[likely]] {
            return {true, 0, used, after};
        }
        return {false, cost > room_ns ? forever : used - (room_ns - cost), used, fits ? after : forever};
    }

    bool allows(uint64_t tat, uint64_t now, uint64_t units) const { return look(tat, now, units).allowed; }

    // Units that could be taken now.
    uint64_t remaining(uint64_t used_ns) const
    {
        return used_ns < room_ns ? (room_ns - used_ns) / interval_ns : 0;
    }

    // Whether they are fewer than `units`, which needs no division.
    bool remain_fewer(uint64_t used_ns, uint64_t units) const
    {
        return used_ns < room_ns ? room_ns - used_ns < multiply_up(units, interval_ns) : units != 0;
    }
};

// All of these give the TAT after it.
inline uint64_t gcra_take(uint64_t tat, uint64_t now, uint64_t interval_ns, uint64_t units)
{
    return add_up(std::max(tat, now), multiply_up(units, interval_ns));
}

// Takes more for what was taken earlier, as if it had been taken then: may go beyond the capacity, and is
// then a debt.
inline uint64_t gcra_owe(uint64_t tat, uint64_t interval_ns, uint64_t units)
{
    return add_up(tat, multiply_up(units, interval_ns));
}

// Gives back what was taken earlier. Only to be used while the limit has not been wholly unused since: what
// has flowed back by itself must not come back a second time.
inline uint64_t gcra_give(uint64_t tat, uint64_t interval_ns, uint64_t units)
{
    return tat - std::min(tat, multiply_up(units, interval_ns));
}

// Rounded up: waiting that long is enough.
inline uint64_t ms_of(uint64_t ns)
{
    return ns == forever ? forever : ns / 1000000 + (ns % 1000000 != 0);
}

} // namespace llm
