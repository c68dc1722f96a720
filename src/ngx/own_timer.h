// Timers of a process, not of a request.
#pragma once

#include "ngx.hpp"

namespace llm {

// Makes `event`, which lies in the cycle's memory, a timer that calls `handler` with what timer_data() gives
// as `data`. It is to be set by ngx_add_timer(). It ends with the cycle, also with `master_process off`,
// where the process goes on after a reload, and no worker that is to exit waits for it. False if there is no
// memory.
bool make_timer(ngx_cycle_t* cycle, ngx_event_t& event, ngx_event_handler_pt handler, void* data);

inline void* timer_data(const ngx_event_t* event)
{
    return static_cast<ngx_connection_t*>(event->data)->data;
}

} // namespace llm
