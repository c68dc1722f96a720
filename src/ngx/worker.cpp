// What happens once in a process: keys come into force, a worker begins and ends.

#include "worker.h"

#include "conf.h"
#include "model_conf.h"
#include "own_timer.h"
#include "owner.h"
#include "running.h"

#include "ngx/keeper/keeper.h"
#include "ngx/keeper/state_duty.h"

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
    auto& mcf = *static_cast<main_conf*>(timer_data(event));
    for (zone_conf* zone : zones_of(mcf)) {
        sweep_owners(*zone);
    }
    if (!ngx_exiting && !ngx_terminate) {
        ngx_add_timer(event, sweep_interval_ms);
    }
}

ngx_int_t start_sweep(ngx_cycle_t* cycle, main_conf& mcf)
{
    if (!make_timer(cycle, mcf.sweep, sweep, &mcf)) {
        return NGX_ERROR;
    }
    sweep(&mcf.sweep);
    return NGX_OK;
}

} // namespace

// The commit point of a (re)load. nginx exits if it fails, so at a reload it must not.
ngx_int_t init_module(ngx_cycle_t* cycle)
{
    main_conf* mcf = main_conf_of(cycle);
    if (!mcf || mcf->zones.nelts == 0) {
        return NGX_OK;
    }
    for (zone_conf* zone : zones_of(*mcf)) {
        zone_publish(*zone);
        name_table_models(*mcf, *zone);
    }
    const bool is_start = ngx_process == NGX_PROCESS_SINGLE && ngx_is_init_cycle(cycle->old_cycle);
    if (!keeper_at_commit(cycle, *mcf) && is_start) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "llm: nginx does not start without the state that was kept: quotas would be forgiven");
        return NGX_ERROR;
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
    if (start_sweep(cycle, *mcf) != NGX_OK || !watch_running(cycle, *mcf)) {
        return NGX_ERROR;
    }
    return ngx_process == NGX_PROCESS_SINGLE ? start_keeper_here(cycle, *mcf) : NGX_OK;
}

void exit_process(ngx_cycle_t* cycle)
{
    main_conf* mcf = main_conf_of(cycle);
    if (!mcf || !serves_requests()) {
        return;
    }
    for (zone_conf* zone : zones_of(*mcf)) {
        release_owner(*zone);
        close_state_at_last(*zone);
    }
    if (ngx_process == NGX_PROCESS_SINGLE) {
        end_keeper_here();
    }
}

// All workers are gone.
void exit_master(ngx_cycle_t* cycle)
{
    if (main_conf* mcf = main_conf_of(cycle)) {
        keeper_at_master_exit(cycle, *mcf);
    }
}

} // namespace llm
