#include "keeper.h"

#include "key_watch.h"
#include "state_duty.h"
#include "unprivileged_child.h"

#include "ngx/conf_args.h"
#include "ngx/own_timer.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <sched.h>
#include <sys/resource.h>

namespace llm {

namespace {

constexpr const keeper_duty* duties[] = {&key_watch_duty, &state_duty};

// A child that restores or writes the state of a large zone takes seconds.
constexpr uint64_t child_limit_ms = 60'000;
constexpr ngx_msec_t longest_pause_ms = 60'000;
// With it, a quarter of a core that a worker wants too.
constexpr int keeper_nice = 5;

// Of this process, if it is the keeper.
struct {
    ngx_pid_t pid = 0;
    main_conf* conf = nullptr;
    ngx_msec_t due[std::size(duties)];
} self;

void end_keeper()
{
    // Not in a child of the keeper.
    if (self.pid != ngx_getpid()) {
        return;
    }
    self.pid = 0;
    for (const keeper_duty* duty : duties) {
        for (zone_conf* zone : zones_of(*self.conf)) {
            if (duty->end) {
                duty->end(*zone);
            }
        }
    }
}

bool is_due(ngx_msec_t when)
{
    return static_cast<ngx_msec_int_t>(when - ngx_current_msec) <= 0;
}

// A turn takes some milliseconds, and workers go first where they share a core with it: one step below what
// it was started with. Where it holds a zone's lock it gets on all the same: a worker that waits for that
// sleeps.
void lower_priority()
{
    const int policy = sched_getscheduler(0);
    if (policy == SCHED_FIFO || policy == SCHED_RR) {
        sched_param priority{};
        sched_getparam(0, &priority);
        priority.sched_priority = std::max(priority.sched_priority - 1, sched_get_priority_min(policy));
        sched_setscheduler(0, policy, &priority);
    } else {
        setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + keeper_nice);
    }
}

void begin_keeper(main_conf& mcf)
{
    self.pid = ngx_pid;
    self.conf = &mcf;
    std::fill(std::begin(self.due), std::end(self.due), ngx_current_msec);
    for (const keeper_duty* duty : duties) {
        for (zone_conf* zone : zones_of(mcf)) {
            if (duty->begin) {
                duty->begin(*zone);
            }
        }
    }
}

// Does what is due, and returns in how many milliseconds there is more.
ngx_msec_t take_turn()
{
    ngx_msec_t pause = longest_pause_ms;
    for (size_t i = 0; i < std::size(duties); i++) {
        if (is_due(self.due[i])) {
            ngx_msec_t next = longest_pause_ms;
            for (zone_conf* zone : zones_of(*self.conf)) {
                next = std::min(next, duties[i]->turn(*zone));
            }
            ngx_time_update();
            self.due[i] = ngx_current_msec + next;
        }
        pause = is_due(self.due[i]) ? 1 : std::min(pause, self.due[i] - ngx_current_msec);
    }
    return pause;
}

// nginx's handler of a path. The cache loader, another helper, has no managers.
ngx_msec_t manage(void* data)
{
    if (self.pid != ngx_pid) {
        // nginx ends this helper by exit(), as soon as it is told to, and calls no hook of modules.
        if (atexit(end_keeper) != 0) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0, "llm: atexit() failed");
        }
        ngx_setproctitle(const_cast<char*>("cache manager process (llm keeper)"));
        lower_priority();
        begin_keeper(*static_cast<main_conf*>(data));
    }
    return take_turn();
}

// The timer's handler, where there is no helper.
void turn_here(ngx_event_t* event)
{
    const ngx_msec_t pause = take_turn();
    if (!ngx_exiting && !ngx_terminate && !ngx_quit) {
        ngx_add_timer(event, pause);
    }
}

struct child_work {
    zone_conf* zone;
    bool (*what)(zone_conf& zone);
};

bool work_in_child(void* data)
{
    // What the lock of a zone knows its holder by.
    ngx_parent = ngx_pid;
    ngx_pid = ngx_getpid();
    const auto& work = *static_cast<child_work*>(data);
    return work.what(*work.zone);
}

const char* text_of(child_end end)
{
    switch (end) {
    case child_end::no_rights:
        return "cannot take on the rights of a worker";
    case child_end::died:
        return "has died";
    case child_end::too_long:
        return "took too long";
    case child_end::no_process:
        return "cannot be started";
    case child_end::done:
    case child_end::failed:
        break;
    }
    return nullptr; // it has said so itself
}

template <class Which>
bool run_children(ngx_cycle_t* cycle, main_conf& mcf, Which which, const char* name)
{
    bool all = true;
    for (zone_conf* zone : zones_of(mcf)) {
        for (const keeper_duty* duty : duties) {
            if (duty->*which && duty->has_state && duty->has_state(*zone)) {
                all &= run_as_worker(cycle, *zone, duty->*which, name);
            }
        }
    }
    return all;
}

} // namespace

bool run_as_worker(ngx_cycle_t* cycle, zone_conf& zone, bool (*what)(zone_conf&), const char* name)
{
    const auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    if (!core->master) {
        // This process has no workers whose rights it could take on.
        return what(zone);
    }
    child_work work{&zone, what};
    const child_result result =
        run_unprivileged({core->user, core->group, core->username}, child_limit_ms, work_in_child, &work);
    const ngx_err_t why = ngx_errno;
    if (const char* text = text_of(result.is)) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, result.is == child_end::no_process ? why : 0,
                      "llm_zone \"%V\": the process that %s %s", &zone.name, name, text);
    }
    // nginx frees the locks of its own children only. What a zone's holder left half done is repaired by the
    // next one.
    if (result.pid > 0) {
        ngx_shmtx_force_unlock(&zone.pool->mutex, result.pid);
    }
    return result.is == child_end::done;
}

bool keeper_at_commit(ngx_cycle_t* cycle, main_conf& mcf)
{
    if (mcf.zones.nelts == 0) {
        return true;
    }
    // Now, and not when the directive is read: nginx has made the directories of all paths by now, and has
    // given them to the worker's user, and this path needs none.
    mcf.keeper_path.manager = manage;
    mcf.keeper_path.data = &mcf;
    if (!push(cycle->paths, &mcf.keeper_path)) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "llm: no memory for the keeper: it will not run");
    }
    for (zone_conf* zone : zones_of(mcf)) {
        warn_of_unreadable(cycle, *zone);
    }
    return ngx_test_config || run_children(cycle, mcf, &keeper_duty::before_workers, "restores the state");
}

ngx_int_t start_keeper_here(ngx_cycle_t* cycle, main_conf& mcf)
{
    if (!make_timer(cycle, mcf.keeper, turn_here, &mcf)) {
        return NGX_ERROR;
    }
    begin_keeper(mcf);
    turn_here(&mcf.keeper);
    return NGX_OK;
}

void end_keeper_here()
{
    end_keeper();
}

void keeper_at_master_exit(ngx_cycle_t* cycle, main_conf& mcf)
{
    run_children(cycle, mcf, &keeper_duty::after_workers, "writes the state");
}

} // namespace llm
