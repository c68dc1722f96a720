#include "own_timer.h"

namespace llm {

namespace {

void stop_timer(void* data)
{
    auto* event = static_cast<ngx_event_t*>(data);
    if (event->timer_set) {
        ngx_del_timer(event);
    }
}

} // namespace

bool make_timer(ngx_cycle_t* cycle, ngx_event_t& event, ngx_event_handler_pt handler, void* data)
{
    auto* dummy = static_cast<ngx_connection_t*>(ngx_pcalloc(cycle->pool, sizeof(ngx_connection_t)));
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cycle->pool, 0);
    if (!dummy || !cleanup) {
        return false;
    }
    cleanup->handler = stop_timer;
    cleanup->data = &event;

    // nginx's debug log prints an event's connection.
    dummy->fd = static_cast<ngx_socket_t>(-1);
    dummy->data = data;
    event.handler = handler;
    event.data = dummy;
    event.log = cycle->log;
    event.cancelable = 1;
    return true;
}

} // namespace llm
