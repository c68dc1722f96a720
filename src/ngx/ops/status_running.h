// What llm_status has of the requests that run, and of the subjects that were used.
#pragma once

#include "json_writer.h"

#include "ngx/zone.h"

namespace llm {

// An array each. Take the lock for a few records at a time.
void put_running(json_writer& out, const zone_conf& zone);

} // namespace llm
