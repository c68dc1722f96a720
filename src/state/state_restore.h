// What was kept, back in a zone.
#pragma once

#include "state_turn.h"

namespace llm {

// Counters are put back in the order of their table, which nobody changes before all are: goes on where it
// was, as long as the turn has time.
void restore_counters(state_turn& w);
// What other zones have counted, in its order.
void import_carried(state_turn& w);

} // namespace llm
