// What a zone is divided into: one area for each kind of record.
//
// A new kind of record is a new row of the table in zone_areas.cpp, which says how large its area is, and a
// member of shared_state, which the row makes. The division, the least size of a zone for so many keys,
// metrics and status follow from the table.
#pragma once

#include "core/base/siphash.h"

#include <cstddef>
#include <string_view>

namespace llm {

class shared_state;

// How full an area is.
struct area_bytes {
    std::string_view name;
    size_t used;
    size_t free;
    bool fills; // records are made in it one by one; else it is in use as a whole
};

struct zone_areas {
    enum area : size_t {
        requests,
        counters,
        learned,
        series,
        clients,
        models,
        book,
        callers,
        journal,
        owners,
        keys,
        next_keys,
        count
    };

    // Of each area.
    struct division {
        size_t records[count];
        size_t bytes[count]; // whole cache lines, which hold the records and what they are found by
    };

    static division divide(size_t room);
    // About the smallest room whose division has these.
    static size_t room_for(size_t key_table_bytes, size_t subjects);
    // Makes the members of `state` that lie in areas, empty, in `memory` (zeroed, 64-byte aligned).
    static void make(shared_state& state, void* memory, const division& sizes, const hash_key& key);
    // Needs the zone's lock.
    static area_bytes use(const shared_state& state, area which);
};

} // namespace llm
