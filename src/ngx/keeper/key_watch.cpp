#include "key_watch.h"

#include "key_loader.h"
#include "start_warning.h"
#include "unprivileged_child.h"

#include "ngx/key_publication.h"

#include "keys/file_look.h"

#include <fcntl.h>
#include <signal.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace llm {

namespace {

// What changes is in force within a second: seen, found to hold still, read, and looked at by the workers.
constexpr ngx_msec_t look_every_ms = 200;
// A file that has changed is to be the same for so long: nobody reads half a file, mostly.
constexpr ngx_msec_t hold_still_ms = 50;
constexpr ngx_msec_t load_step_ms = 5;
constexpr ngx_msec_t retry_ms = 1000;
constexpr ngx_msec_t turn_budget_ms = 20;
// A fault is said when it is still there at the second look: somebody may be writing.
constexpr unsigned faults_to_say = 2;
constexpr uint64_t look_limit_ms = 5000;

struct watched_file {
    file_stamp in_force;
    file_stamp seen;    // at the last look
    file_stamp at_load; // when it was read last
    file_stamp failed;  // of the text that `fault` is about
    unsigned failures = 0;
    file_fault fault;
    bool reads = false; // this time
};

} // namespace

struct key_watch {
    explicit key_watch(zone_conf& of) : zone(of), files(sources_of(of).size()) {}

    ngx_msec_t turn();
    void stop();

private:
    void learn_what_is_in_force(const shared_state& state);
    bool look_at_files();
    bool begin_load();
    ngx_msec_t go_on_loading();
    void take(const loader_event& event);
    void publish(const loader_event& event);
    void note_fault(const loader_event& event);
    void finish(bool ended_well);
    void show_faults(shared_state& state);
    void say_mended(watched_file& file, const key_source& source);
    void say(ngx_uint_t level, const key_source& source, uint32_t line, uint32_t column,
             std::string_view text) const;
    void say_fault(const key_source& source, const file_fault& fault) const;
    const key_source& source(size_t i) const { return *sources_of(zone)[i]; }

    zone_conf& zone;
    std::vector<watched_file> files;
    uint64_t generation = 0; // that `in_force` is of
    // While files are read.
    key_loader loader;
    publisher::ticket ticket = 0;
    uint64_t request = 0; // of the mailbox
    bool published = false;
    bool is_done = false;
    size_t needed = 0;
    keys_read result;
    bool told_no_child = false;
};

void key_watch::say(ngx_uint_t level, const key_source& of, uint32_t line, uint32_t column,
                    std::string_view text) const
{
    ngx_str_t what = to_ngx(text);
    if (line != 0) {
        ngx_log_error(level, ngx_cycle->log, 0, "llm_zone \"%V\": %V:%uD:%uD: %V", &zone.name, &of.path, line,
                      column, &what);
    } else {
        ngx_log_error(level, ngx_cycle->log, 0, "llm_zone \"%V\": %V: %V", &zone.name, &of.path, &what);
    }
}

void key_watch::say_fault(const key_source& of, const file_fault& fault) const
{
    ngx_str_t what = to_ngx(fault.text());
    if (fault.line != 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "llm_zone \"%V\": %V:%uD:%uD: %V: the keys in force stay as they are", &zone.name,
                      &of.path, fault.line, fault.column, &what);
    } else {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "llm_zone \"%V\": %V: %V: the keys in force stay as they are", &zone.name, &of.path,
                      &what);
    }
}

// Needs the lock.
void key_watch::learn_what_is_in_force(const shared_state& state)
{
    if (generation == state.generation()) {
        return;
    }
    generation = state.generation();
    for (size_t i = 0; i < files.size(); i++) {
        watched_file& file = files[i];
        const key_table::file_info* info = zone.state->keys()->file(source(i).id);
        if (!info) {
            continue;
        }
        file.in_force = info->stamp;
        // Of the keeper before this one.
        if (info->fault.is_one() && file.failures == 0) {
            file.fault = info->fault;
            file.failed = info->fault_stamp;
            file.failures = faults_to_say;
        }
    }
}

// Which files are to be read. True if some have changed and do not hold still yet.
bool key_watch::look_at_files()
{
    bool moves = false;
    for (size_t i = 0; i < files.size(); i++) {
        watched_file& file = files[i];
        const file_stamp now = stamp_of(reinterpret_cast<const char*>(source(i).path.data));
        const bool still = now == file.seen;
        file.seen = now;
        if (now == file.in_force && file.failures != 0) {
            say_mended(file, source(i));
        }
        const bool known_bad = file.failures >= faults_to_say && now == file.failed;
        const bool changed = now != file.in_force && !known_bad;
        file.reads = request != 0 || (changed && still);
        moves = moves || (changed && !still);
    }
    return moves;
}

// The old text is back, or a new one is good.
void key_watch::say_mended(watched_file& file, const key_source& of)
{
    if (file.failures >= faults_to_say) {
        say(NGX_LOG_NOTICE, of, 0, 0, "is good again");
    }
    file.failures = 0;
    file.fault = {};
    zone_session session(zone);
    show_faults(*zone.state);
}

// Faults beside the keys in force. Needs the lock.
void key_watch::show_faults(shared_state& state)
{
    for (size_t i = 0; i < files.size(); i++) {
        const watched_file& file = files[i];
        if (key_table::file_info* info = state.keys()->file(source(i).id)) {
            info->fault = file.failures >= faults_to_say ? file.fault : file_fault{};
            info->fault_stamp = file.failed;
        }
    }
}

ngx_msec_t key_watch::turn()
{
    if (loader.runs()) {
        return go_on_loading();
    }
    {
        zone_session session(zone);
        if (session->configuration() != zone.configuration) {
            return retry_ms; // the keeper of another configuration sees to the files
        }
        learn_what_is_in_force(*zone.state);
        request = session->mailbox().open_request();
    }
    const bool moves = look_at_files();
    bool reads = request != 0;
    for (const watched_file& file : files) {
        reads = reads || file.reads;
    }
    if (reads) {
        return begin_load() ? load_step_ms : retry_ms;
    }
    return moves ? hold_still_ms : look_every_ms;
}

bool key_watch::begin_load()
{
    ticket = try_begin_staging(zone);
    if (ticket == 0) {
        return false;
    }
    published = is_done = false;
    needed = 0;
    result = {};
    std::vector<bool> reads;
    for (watched_file& file : files) {
        reads.push_back(file.reads);
        file.at_load = file.seen;
    }
    if (loader.start(zone, reads)) {
        told_no_child = false;
        return true;
    }
    if (!told_no_child) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "llm_zone \"%V\": no process to read the key files: trying again", &zone.name);
        told_no_child = true;
    }
    zone_session session(zone);
    session->end_staging(ticket);
    return false;
}

ngx_msec_t key_watch::go_on_loading()
{
    const ngx_msec_t begin = ngx_current_msec;
    const auto state = loader.poll([this](const loader_event& event) { take(event); },
                                   [begin] {
                                       ngx_time_update();
                                       return ngx_current_msec - begin < turn_budget_ms;
                                   });
    if (state != key_loader::state::ended) {
        return state == key_loader::state::has_more ? 1 : load_step_ms;
    }
    finish(is_done);
    return look_every_ms;
}

void key_watch::take(const loader_event& event)
{
    switch (event.what) {
    case loader_event::kind::fault:
        note_fault(event);
        return;
    case loader_event::kind::warning:
        say(NGX_LOG_WARN, source(event.source), event.line, event.column, event.text);
        return;
    case loader_event::kind::staged:
        publish(event);
        return;
    case loader_event::kind::followup:
        if (published) {
            needed += !follow_up(zone, event.followup);
        }
        return;
    case loader_event::kind::done:
        needed += event.needed;
        is_done = true;
        return;
    }
}

void key_watch::note_fault(const loader_event& event)
{
    watched_file& file = files[event.source];
    const file_fault fault(event.line, event.column, event.text);
    if (file.failed != file.at_load) {
        file.failures = 0;
    }
    const bool was_said = file.failures >= faults_to_say;
    file.failed = file.at_load;
    file.fault = fault;
    // Who asks to have the files read has written them.
    file.failures = request != 0 ? faults_to_say : file.failures + 1;
    file.reads = false;
    result.add_fault(view(source(event.source).path), fault);
    if (file.failures >= faults_to_say && !was_said) {
        say_fault(source(event.source), fault);
    }
}

void key_watch::publish(const loader_event& event)
{
    // Those that were read are good.
    for (size_t i = 0; i < files.size(); i++) {
        if (files[i].reads && files[i].failures != 0) {
            if (files[i].failures >= faults_to_say) {
                say(NGX_LOG_NOTICE, source(i), 0, 0, "is good again");
            }
            files[i].failures = 0;
        }
    }
    zone_session session(zone);
    published = session->configuration() == zone.configuration && session->publish(ticket, event.table);
    if (published) {
        show_faults(*zone.state);
        result.changes = event.changes;
    }
}

void key_watch::finish(bool ended_well)
{
    if (!ended_well) {
        for (size_t i = 0; i < files.size(); i++) {
            if (files[i].reads && !published) {
                note_fault({.what = loader_event::kind::fault,
                            .source = static_cast<uint32_t>(i),
                            .text = "the process that read it was killed"});
            }
        }
    }
    result.files = static_cast<uint32_t>(files.size());
    {
        zone_session session(zone);
        if (session->configuration() == zone.configuration) {
            if (!published) {
                show_faults(*zone.state);
            } else if (ended_well) {
                // Otherwise some of the room that is kept for keys is too much or too little until the next
                // time.
                zone.state->set_needed(needed);
            }
            result.keys = session->keys()->keys();
            result.generation = session->generation();
            if (request != 0) {
                session->mailbox().close(request, result);
            }
        }
        session->end_staging(ticket);
    }
    ticket = 0;
    if (published) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "llm_zone \"%V\": %uD keys are in force: %uD added, %uD removed, %uD changed",
                      &zone.name, result.keys, result.changes.added, result.changes.removed,
                      result.changes.changed);
    }
}

void key_watch::stop()
{
    if (loader.runs()) {
        loader.stop();
        zone_session session(zone);
        session->end_staging(ticket);
    }
}

namespace {

void begin_watch(zone_conf& zone)
{
    // nginx's handler would tell of each child as of an unknown process.
    if (ngx_process == NGX_PROCESS_HELPER) {
        signal(SIGCHLD, SIG_DFL);
    }
    zone.watch = new (std::nothrow) key_watch(zone);
}

ngx_msec_t turn_watch(zone_conf& zone)
{
    return zone.watch ? zone.watch->turn() : retry_ms;
}

void end_watch(zone_conf& zone)
{
    if (zone.watch) {
        zone.watch->stop();
        delete zone.watch;
        zone.watch = nullptr;
    }
}

bool can_read(void* data)
{
    const int fd = open(static_cast<const char*>(data), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

} // namespace

const keeper_duty key_watch_duty = {
    .begin = begin_watch,
    .turn = turn_watch,
    .end = end_watch,
    .has_state = nullptr,
    .before_workers = nullptr,
    .after_workers = nullptr,
};

void warn_of_unreadable(ngx_cycle_t* cycle, const zone_conf& zone)
{
    if (geteuid() != 0) {
        return; // it has just read them, and is the workers' user
    }
    const auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    for (const key_source* source : sources_of(zone)) {
        const child_result result = run_unprivileged({core->user, core->group, core->username}, look_limit_ms,
                                                     can_read, source->path.data);
        if (result.is == child_end::failed) {
            warn_at_start(cycle->log,
                          std::string(view(source->path)) + ": the workers' user \"" + core->username
                              + "\" cannot read it, so each change needs a reload: give it the mode 640 and "
                                "a group of that user, and let that user into its directory");
        }
    }
}

} // namespace llm
