// A process that holds something in a zone: leases, or the right to publish keys.
#pragma once

#include <cstdint>

namespace llm {

// `started` tells a process from a later one of the same pid (see src/ngx/process.h).
struct lease_owner {
    uint32_t pid; // 0 = free
    uint64_t started;

    bool operator==(const lease_owner&) const = default;
};

} // namespace llm
