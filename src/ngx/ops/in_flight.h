// Requests in flight by key, user and model, counted from their leases.
#pragma once

#include "ngx/zone.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace llm {

struct flight_group {
    uint32_t key;   // subjects
    uint32_t user;  // or no_index
    uint32_t model; // of the book
    uint32_t requests;
};

// In the order of these numbers. Nothing (no data) if there is no memory. Takes the lock for a few leases at
// a time.
std::span<flight_group> count_in_flight(const zone_conf& zone, ngx_pool_t* pool);

} // namespace llm
