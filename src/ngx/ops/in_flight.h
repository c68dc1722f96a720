// Requests in flight by key, user and model, counted from their leases.
#pragma once

#include "sliced_reply.h"

#include "ngx/zone.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace llm {

struct flight_group {
    static constexpr uint32_t other_users = no_index - 1;

    uint32_t key;  // subjects
    uint32_t user; // or no_index, or other_users: those that an application names and that have no own record
    uint32_t model; // of the book
    uint32_t requests;
};

// All zero bytes are a valid initial state.
class flight_count {
public:
    // Counts a few leases more. `pool` is that of the first call. Takes the lock.
    progress count(const zone_conf& zone, ngx_pool_t* pool);
    // What was counted, in no order.
    std::span<const flight_group> groups() const { return {groups_, n_}; }

private:
    bool begin(const zone_conf& zone, ngx_pool_t* pool);
    void add(const flight_group& one);
    void close_up();

    flight_group* groups_ = nullptr; // each in the first free place from that of its hash on
    uint32_t mask_ = 0;
    uint32_t next_ = 0; // lease
    uint32_t end_ = 0;
    size_t n_ = 0; // once all are counted
};

} // namespace llm
