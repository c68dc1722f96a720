#include "known_callers.h"

#include <algorithm>

namespace llm {

static_assert(std::atomic<uint64_t>::is_always_lock_free);

bool known_callers::knows(uint64_t caller, int64_t now_ms) const
{
    const uint64_t hour = hour_of(now_ms);
    const set& its = sets_[set_of(caller)];
    return std::any_of(its.seen, its.seen + places, [&](const std::atomic<uint64_t>& place) {
        const uint64_t seen = place.load(std::memory_order_relaxed);
        // A clock that was set back makes what was seen later young, not old.
        return seen != 0 && (seen ^ caller) >> hour_bits == 0
               && static_cast<int64_t>(hour) - static_cast<int64_t>(seen & hour_mask) < lasts_hours;
    });
}

void known_callers::note(uint64_t caller, int64_t now_ms)
{
    const uint64_t hour = hour_of(now_ms);
    set& its = sets_[set_of(caller)];
    size_t oldest = 0;
    uint64_t oldest_hour = UINT64_MAX;
    for (size_t i = 0; i < places; i++) {
        const uint64_t seen = its.seen[i].load(std::memory_order_relaxed);
        if (seen != 0 && (seen ^ caller) >> hour_bits == 0) {
            oldest = i;
            if ((seen & hour_mask) == hour) {
                return;
            }
            break;
        }
        if ((seen & hour_mask) < oldest_hour) {
            oldest = i;
            oldest_hour = seen & hour_mask;
        }
    }
    its.seen[oldest].store((caller & ~hour_mask) | hour, std::memory_order_relaxed);
}

} // namespace llm
