// What is kept of a zone on disk: `state=` of llm_zone. See src/state/state_store.h.
#pragma once

#include "keeper.h"

namespace llm {

extern const keeper_duty state_duty;

// Whether the file will do, asked in a process with the rights of a worker, before a configuration with a new
// zone comes into force. The log says why it will not.
bool check_state(zone_conf& zone);
// The end of a worker. The last one of a zone closes it: after a reload that has made another zone of its
// size nobody else would.
void close_state_at_last(zone_conf& zone);

} // namespace llm
