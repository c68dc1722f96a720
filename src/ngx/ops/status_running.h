// What llm_status has of the requests that run.
#pragma once

#include "json_writer.h"
#include "sliced_reply.h"

#include "ngx/zone.h"

namespace llm {

// An array. All zero bytes are a valid initial state.
class running_list {
public:
    // Takes the lock.
    progress put_slice(json_writer& out, const zone_conf& zone);

private:
    bool begun_ = false;
    uint32_t next_ = 0;
    uint32_t end_ = 0; // the table may grow meanwhile: what is new is left out
};

} // namespace llm
