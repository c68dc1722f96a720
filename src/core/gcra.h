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

struct gcra {
    uint64_t interval_ns; // of one unit
    uint64_t capacity;    // units that may be taken at once

    // `rate` and a capacity of at least one.
    static gcra of(const rate& r, uint64_t capacity)
    {
        return {r.interval_ns, std::max<uint64_t>(capacity, 1)};
    }

    bool allows(uint64_t tat, uint64_t now, uint64_t units) const
    {
        uint64_t used = tat > now ? tat - now : 0;
        uint64_t room = multiply_up(capacity, interval_ns);
        uint64_t cost = multiply_up(units, interval_ns);
        return cost <= room && used <= room - cost;
    }

    struct view {
        bool allowed;
        uint64_t wait_ns; // until as much would be allowed, if nobody else takes; forever if never
        uint64_t used_ns; // until all of the capacity is there
    };

    view look(uint64_t tat, uint64_t now, uint64_t units) const
    {
        uint64_t used = tat > now ? tat - now : 0;
        uint64_t room = multiply_up(capacity, interval_ns);
        uint64_t cost = multiply_up(units, interval_ns);
        if (cost > room) {
            return {false, forever, used};
        }
        uint64_t allowed_use = room - cost;
        return {used <= allowed_use, used <= allowed_use ? 0 : used - allowed_use, used};
    }

    // Units that could be taken now.
    uint64_t remaining(uint64_t used_ns) const
    {
        uint64_t room = multiply_up(capacity, interval_ns);
        return used_ns < room ? (room - used_ns) / interval_ns : 0;
    }

    // Whether they are fewer than `units`, which needs no division.
    bool remain_fewer(uint64_t used_ns, uint64_t units) const
    {
        uint64_t room = multiply_up(capacity, interval_ns);
        return used_ns < room ? room - used_ns < multiply_up(units, interval_ns) : units != 0;
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
