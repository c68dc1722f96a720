// The requests of this worker that hold a lease, and the end of those that somebody wants to end: an
// operator, or whoever has changed their keys. Only their own worker ends them.
#pragma once

#include "request.h"

namespace llm {

// Its lease was taken; is settled.
void join_running(ngx_http_request_t* r, request_ctx& ctx);
void leave_running(request_ctx& ctx);

// Begins to look for those that are to end, by a timer: within half a second, whether bytes flow or not.
// False if there is no memory.
bool watch_running(ngx_cycle_t* cycle, main_conf& mcf);

} // namespace llm
