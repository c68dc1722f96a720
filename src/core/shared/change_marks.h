// When records last changed, for groups of neighbours: a pass over what has changed in a large table need not
// look at each of its records, which would be a miss of the cache for each.
//
// Lies in the shared zone. A mark is a number that a pass takes, under the zone's lock, before it begins.
#pragma once

#include <cstddef>
#include <cstdint>

namespace llm {

class change_marks {
public:
    static size_t bytes(uint32_t records) { return groups_of(records) * sizeof(uint32_t); }
    // Over `memory`, which is zeroed and bytes(records) long.
    void format(void* memory, uint32_t records)
    {
        marks_ = static_cast<uint32_t*>(memory);
        groups_ = static_cast<uint32_t>(groups_of(records));
    }

    // Needs the lock.
    void touch(uint32_t index, uint64_t mark)
    {
        __atomic_store_n(&marks_[index / group], static_cast<uint32_t>(mark), __ATOMIC_RELAXED);
    }
    // The first record from `index` on whose group may have changed since this mark; no record of the table
    // if there is none. Needs no lock: what changes meanwhile has a later mark.
    uint32_t skip(uint32_t index, uint64_t since) const
    {
        // Of a mark 32 bits are kept: enough for decades of passes.
        uint32_t at = index / group;
        while (at < groups_
               && __atomic_load_n(&marks_[at], __ATOMIC_RELAXED) < static_cast<uint32_t>(since)) {
            at++;
        }
        return at == index / group ? index : at * group;
    }

private:
    static constexpr uint32_t group = 16;
    static size_t groups_of(uint32_t records) { return records / group + 1; }

    uint32_t* marks_;
    uint32_t groups_;
};

} // namespace llm
