// The keeper's duty to key files: what changes in them is in force within a second, without a reload.
//
// A file that is not good changes nothing: its old keys stay in force, and its fault is kept beside them in
// the zone, for the log, status and metrics.
#pragma once

#include "keeper.h"

namespace llm {

extern const keeper_duty key_watch_duty;

// When a configuration comes into force, in the master: a warning for each file that the workers' user cannot
// read, since its changes need a reload then.
void warn_of_unreadable(ngx_cycle_t* cycle, const zone_conf& zone);

} // namespace llm
