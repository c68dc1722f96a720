// The keeper: the process for slow work, which nginx starts, restarts and stops by itself. It is the helper
// that nginx runs for paths with a `manager` ("cache manager process"), and has the rights of a worker.
//
// With `proxy_cache_path` in the same configuration it is nginx's cache manager as well, hence turns are
// short: well under 100 ms. With `master_process off` there is no helper: the one process has the turns.
#pragma once

#include "ngx/conf.h"

namespace llm {

// What the keeper does for each zone. Its table is in keeper.cpp. Any function but turn() may be missing.
struct keeper_duty {
    // --- in the keeper

    // Before the first turn of this process: of a new keeper, be it that the last one was killed.
    void (*begin)(zone_conf& zone);
    // Returns in how many milliseconds it is to be called again; it may be called earlier.
    ngx_msec_t (*turn)(zone_conf& zone);
    // When the keeper ends in good order. nginx does not wait for its end longer than for that of workers.
    void (*end)(zone_conf& zone);

    // --- in children of the master, which has no other part in slow work: see unprivileged_child.h

    // Whether before_workers() and after_workers() have work for this zone. In the master.
    bool (*has_state)(const zone_conf& zone);
    // At the commit point of a start or a reload: keys are in force, and no new worker runs yet. Not with
    // `nginx -t`. False if the work has failed, and the log says so.
    bool (*before_workers)(zone_conf& zone);
    // When all workers and the keeper are gone.
    bool (*after_workers)(zone_conf& zone);
};

// Does something for a zone in a process that has the rights of a worker and no more, and waits for it. False
// if it has failed; the log says so. `name`: "the process that NAME" does something.
bool run_as_worker(ngx_cycle_t* cycle, zone_conf& zone, bool (*what)(zone_conf&), const char* name);

// nginx's hooks, where the configuration has zones.

// When the configuration has come into force, in the master: nginx starts the keeper after this. False if
// what was kept of a zone is not there again: quotas would be forgiven.
bool keeper_at_commit(ngx_cycle_t* cycle, main_conf& mcf);
// In the one process of `master_process off`.
ngx_int_t start_keeper_here(ngx_cycle_t* cycle, main_conf& mcf);
void end_keeper_here();
void keeper_at_master_exit(ngx_cycle_t* cycle, main_conf& mcf);

} // namespace llm
