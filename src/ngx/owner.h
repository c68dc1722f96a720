// Which processes hold leases, and whether they still run.
#pragma once

#include "core/shared/shared_state.h"
#include "zone.h"

namespace llm {

// This process as an owner. `started` is its start time, see process.h.
lease_owner this_process();

// The zone's number for this process, claimed if it has none yet. no_index if the zone has no room.
uint32_t owner_number(zone_conf& zone);

// Settles the leases of owners that are gone.
void sweep_owners(zone_conf& zone);
// Settles what this process still holds and gives its number back. For its end.
void release_owner(zone_conf& zone);

} // namespace llm
