// What happens once in a process: keys come into force, a worker begins and ends.

#include "worker.h"

#include "conf.h"
#include "owner.h"

namespace llm {

namespace {

// A slot of a killed worker is to be free within a second.
constexpr ngx_msec_t sweep_interval_ms = 400;

// init_process also runs in the cache helpers, which never come to exit_process.
bool serves_requests()
{
    return ngx_process == NGX_PROCESS_WORKER || ngx_process == NGX_PROCESS_SINGLE;
}

void sweep(ngx_event_t* event)
{
    auto& mcf = *static_cast<main_conf*>(static_cast<ngx_connection_t*>(event->data)->data);
    for (zone_conf* zone : zones_of(mcf)) {
        sweep_owners(*zone);
    }
    if (!ngx_exiting && !ngx_terminate) {
        ngx_add_timer(event, sweep_interval_ms);
    }
}

void stop_sweep(void* data)
{
    auto* event = static_cast<ngx_event_t*>(data);
    if (event->timer_set) {
        ngx_del_timer(event);
    }
}

// The timer must not outlive the configuration that it lies in, which `master_process off` would let it do at
// a reload.
ngx_int_t start_sweep(ngx_cycle_t* cycle, main_conf& mcf)
{
    auto* dummy = static_cast<ngx_connection_t*>(ngx_pcalloc(cycle->pool, sizeof(ngx_connection_t)));
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cycle->pool, 0);
    if (!dummy || !cleanup) {
        return NGX_ERROR;
    }
    cleanup->handler = stop_sweep;
    cleanup->data = &mcf.sweep;

    // nginx's debug log prints an event's connection.
    dummy->fd = static_cast<ngx_socket_t>(-1);
    dummy->data = &mcf;
    mcf.sweep.handler = sweep;
    mcf.sweep.data = dummy;
    mcf.sweep.log = cycle->log;
    // A worker that is to exit does not wait for it.
    mcf.sweep.cancelable = 1;
    sweep(&mcf.sweep);
    return NGX_OK;
}

} // namespace

// The commit point of a (re)load: must not fail, since nginx then exits.
ngx_int_t init_module(ngx_cycle_t* cycle)
{
    if (main_conf* mcf = main_conf_of(cycle)) {
        for (zone_conf* zone : zones_of(*mcf)) {
            zone_publish(*zone);
        }
    }
    return NGX_OK;
}

ngx_int_t init_process(ngx_cycle_t* cycle)
{
    main_conf* mcf = main_conf_of(cycle);
    if (!mcf || mcf->zones.nelts == 0 || !serves_requests()) {
        return NGX_OK;
    }
    for (zone_conf* zone : zones_of(*mcf)) {
        if (owner_number(*zone) == no_index) {
            ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                          "llm_zone \"%V\" has no room for another worker: it refuses requests", &zone->name);
        }
    }
    return start_sweep(cycle, *mcf);
}

void exit_process(ngx_cycle_t* cycle)
{
    main_conf* mcf = main_conf_of(cycle);
    if (!mcf || !serves_requests()) {
        return;
    }
    for (zone_conf* zone : zones_of(*mcf)) {
        release_owner(*zone);
    }
}

} // namespace llm
