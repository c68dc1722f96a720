#include "state_duty.h"

#include "start_warning.h"

#include "ngx/clock.h"
#include "ngx/process.h"
#include "state/state_store.h"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace llm {

namespace {

// At most a second of accounting is to be lost.
constexpr ngx_msec_t turn_every_ms = 400;
// Where there is more to write than fits in a turn: nginx's cache manager, which is the same process, comes
// between.
constexpr ngx_msec_t more_after_ms = 40;

state_store* make_store(const zone_conf& zone)
{
    const auto master = static_cast<uint32_t>(zone.has_master ? ngx_parent : ngx_pid);
    return new state_store({.path = std::string(view(zone.state_path)),
                            .by = {.name = std::string(view(zone.name)),
                                   .pid = master,
                                   .started = start_time_of(master),
                                   .parent = static_cast<uint32_t>(zone.parent_of_master),
                                   .is_gone = is_gone},
                            .keep_seconds = zone.keep_s});
}

bool has_state(const zone_conf& zone)
{
    return zone.state_path.len != 0;
}

// Once for each change, whichever process sees it.
void tell(const zone_conf& zone, const state_result& result)
{
    if (result.fault == state_fault::busy) {
        return;
    }
    const auto fault = static_cast<uint8_t>(result.fault);
    const uint8_t before = zone.state->note_disk(fault, wall_clock_ms());
    if (fault == before) {
        return;
    }
    if (result.ok()) {
        ngx_log_error(NGX_LOG_NOTICE, zone.shm->shm.log, 0, "llm_zone \"%V\": its state is written again",
                      &zone.name);
        return;
    }
    ngx_log_error(NGX_LOG_ERR, zone.shm->shm.log, 0,
                  "llm_zone \"%V\": its state is not written, tried again until it is: %s", &zone.name,
                  result.text.c_str());
}

// What a damaged file said is lost; what it was is said, and a new one is begun.
template <class Act>
state_result act_twice(const zone_conf& zone, Act act)
{
    state_result result = act();
    tell(zone, result);
    if (result.fault == state_fault::damaged) {
        result = act();
        tell(zone, result);
    }
    return result;
}

bool restore(zone_conf& zone)
{
    // With its counters it lives on.
    if (zone.inherited) {
        return true;
    }
    const std::unique_ptr<state_store> store(make_store(zone));
    return act_twice(zone,
                     [&] { return store->restore(*zone.state, now_of_both_clocks(), zone_locker{zone}); })
        .ok();
}

void begin(zone_conf& zone)
{
    if (has_state(zone)) {
        zone.store = make_store(zone);
    }
}

ngx_msec_t turn(zone_conf& zone)
{
    if (!has_state(zone)) {
        return NGX_TIMER_INFINITE;
    }
    const state_result result = zone.store->turn(*zone.state, now_of_both_clocks(), zone_locker{zone});
    tell(zone, result);
    return result.more ? more_after_ms : turn_every_ms;
}

bool close(zone_conf& zone)
{
    const std::unique_ptr<state_store> store(make_store(zone));
    return act_twice(zone, [&] { return store->close(*zone.state, now_of_both_clocks(), zone_locker{zone}); })
        .ok();
}

void end(zone_conf& zone)
{
    const std::unique_ptr<state_store> store(std::exchange(zone.store, nullptr));
    if (store) {
        const moment now = now_of_both_clocks();
        tell(zone, zone.has_master ? store->turn(*zone.state, now, zone_locker{zone})
                                   : store->close(*zone.state, now, zone_locker{zone}));
    }
}

bool check(zone_conf& zone)
{
    const std::unique_ptr<state_store> store(make_store(zone));
    const state_result looked = store->check();
    if (looked.ok()) {
        return true;
    }
    // At a reload the zone goes on with its counters, whatever has become of its file: nothing is forgiven,
    // and what else the configuration changes has nothing to do with the disk.
    const bool is_damaged = looked.fault == state_fault::damaged;
    const bool will_do = zone.keeps_file || is_damaged || looked.fault == state_fault::busy;
    const std::string text = "llm_zone \"" + std::string(view(zone.name)) + "\": state=" + looked.text
                             + (is_damaged        ? ": it will be set aside"
                                : zone.keeps_file ? ": tried again until it is written"
                                                  : "");
    if (will_do) {
        warn_at_start(zone.shm->shm.log, text);
    } else {
        ngx_log_error(NGX_LOG_EMERG, zone.shm->shm.log, 0, "%s", text.c_str());
    }
    return will_do;
}

// The master that runs with the configuration that is only tested: what it holds is no stranger's. 0 if none.
ngx_pid_t running_master(const ngx_core_conf_t& core)
{
    char text[16];
    const int fd = open(reinterpret_cast<const char*>(core.pid.data), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t size = fd >= 0 ? read(fd, text, sizeof text) : 0;
    if (fd >= 0) {
        ::close(fd);
    }
    ngx_pid_t pid = 0;
    std::from_chars(text, text + std::max<ssize_t>(size, 0), pid);
    return pid;
}

// For the workers' user, as nginx makes those of its caches. What is there is left as it is, and what cannot
// be made is found by the look at the file. Root gives away only what it has just made: by its descriptor,
// since somebody else may own the directory above.
bool make_directory(const zone_conf& zone, const ngx_core_conf_t& core)
{
    const std::string path(view(zone.state_path));
    const std::string directory = path.substr(0, path.rfind('/'));
    if (directory.empty() || mkdir(directory.c_str(), 0700) != 0 || geteuid() != 0) {
        return true;
    }
    const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const bool given = fd >= 0 && fchown(fd, core.user, core.group) == 0;
    if (!given) {
        ngx_log_error(NGX_LOG_EMERG, zone.shm->shm.log, ngx_errno,
                      "llm_zone \"%V\": \"%s\" cannot be given to user \"%s\"", &zone.name, directory.c_str(),
                      core.username);
    }
    if (fd >= 0) {
        ::close(fd);
    }
    return given;
}

} // namespace

const keeper_duty state_duty = {
    .begin = begin,
    .turn = turn,
    .end = end,
    .has_state = has_state,
    .before_workers = restore,
    .after_workers = close,
};

bool prepare_state(zone_conf& zone)
{
    const auto* core =
        reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(zone.cycle->conf_ctx, ngx_core_module));
    zone.has_master = core->master != 0;
    zone.parent_of_master = ngx_test_config ? running_master(*core) : ngx_parent;
    return !has_state(zone)
           || (make_directory(zone, *core) && run_as_worker(zone.cycle, zone, check, "looks at the state"));
}

void close_state_at_last(zone_conf& zone)
{
    if (!has_state(zone) || !zone.has_master) {
        return;
    }
    const bool others = with_lock(zone, [&] { return zone.state->has_owners(); });
    if (!others) {
        close(zone);
    }
}

} // namespace llm
