// What is kept of a zone on disk: `state=` of llm_zone. See src/state/state_store.h.
#pragma once

#include "keeper.h"

namespace llm {

extern const keeper_duty state_duty;

// Before a configuration comes into force: learns whose the zone is, makes the directory of its file where
// there is none, and looks in a process with the rights of a worker whether the file will do. False if not;
// the log says why.
bool prepare_state(zone_conf& zone);
// The end of a worker. The last one of a zone closes it: after a reload that has made another zone of its
// size nobody else would.
void close_state_at_last(zone_conf& zone);

} // namespace llm
