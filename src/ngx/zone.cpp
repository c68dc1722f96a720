#include "zone.h"

#include "clock.h"
#include "owner.h"
#include "process.h"

#include "ngx/keeper/state_duty.h"

#include <algorithm>
#include <span>
#include <string>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace llm {

namespace {

// How long a reload waits for another process that is writing keys. For a million of them that takes seconds.
constexpr ngx_msec_t max_wait_ms = 30'000;
constexpr ngx_msec_t wait_step_ms = 10;

ngx_int_t attach(ngx_shm_zone_t* shm, zone_conf& zone, const zone_conf* old)
{
    zone.pool = reinterpret_cast<ngx_slab_pool_t*>(shm->shm.addr);
    zone.inherited = old != nullptr;
    if (old) {
        zone.state = old->state;
        return NGX_OK;
    }
    if (shm->shm.exists) {
        zone.state = static_cast<shared_state*>(zone.pool->data);
        if (!zone.state->compatible()) {
            ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                          "llm_zone \"%V\" was made by another version of this module: restart nginx",
                          &zone.name);
            return NGX_ERROR;
        }
        return NGX_OK;
    }

    size_t bytes = zone.pool->pfree * ngx_pagesize;
    void* memory = bytes < shared_state::min_bytes ? nullptr : ngx_slab_alloc(zone.pool, bytes);
    if (!memory) {
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0, "llm_zone \"%V\" is too small", &zone.name);
        return NGX_ERROR;
    }
    hash_key key;
    if (getrandom(key.data(), sizeof key, 0) != static_cast<ssize_t>(sizeof key)) {
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, ngx_errno, "getrandom() failed");
        return NGX_ERROR;
    }
    zone.state = shared_state::format(memory, bytes, key, wall_clock_ms());
    zone.pool->data = zone.state;
    // The slab has nothing left to give: what nginx would log about that is of no use.
    zone.pool->log_nomem = 0;
    return NGX_OK;
}

// What nginx's slab takes of a zone: its page table and rounding, well under a page for each two hundred.
size_t slab_overhead(const ngx_shm_zone_t& shm)
{
    return shm.shm.size / 128;
}

// Every key and every user may need a record of its own, so that no request is refused for want of one.
ngx_int_t check_room(ngx_shm_zone_t* shm, zone_conf& zone, std::span<const key_file* const> files)
{
    std::unordered_set<std::string_view> keys, users;
    for (const key_file* file : files) {
        for (const key_record& k : file->keys) {
            keys.insert(k.name);
            if (!k.user.empty()) {
                users.insert(k.user);
            }
        }
    }
    size_t subjects = keys.size() + users.size();
    zone.staged_subjects = subjects;
    size_t table_bytes = key_table::bytes(files);
    if (table_bytes <= zone.state->key_area_bytes() && subjects <= zone.state->subjects().capacity()) {
        return NGX_OK;
    }
    size_t needed = shared_state::bytes_for(table_bytes, subjects) + slab_overhead(*shm);
    ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                  "llm_zone \"%V\" of %uzk is too small for %uz keys and %uz users: make it at least %uzm",
                  &zone.name, shm->shm.size >> 10, keys.size(), users.size(), (needed >> 20) + 1);
    return NGX_ERROR;
}

// The right to write the next key table.
ngx_int_t begin_staging(ngx_shm_zone_t* shm, zone_conf& zone)
{
    const lease_owner self = this_process();
    for (ngx_msec_t waited = 0; waited <= max_wait_ms; waited += wait_step_ms) {
        zone.ticket = zone.state->begin_staging(self, zone_locker{zone}, [](const lease_owner& holder) {
            return is_gone(holder.pid, holder.started);
        });
        if (zone.ticket != 0) {
            return NGX_OK;
        }
        ngx_msleep(wait_step_ms);
    }
    ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                  "llm_zone \"%V\": another process is still writing keys: try again", &zone.name);
    return NGX_ERROR;
}

// The next key table, beside the one in force.
ngx_int_t stage(ngx_shm_zone_t* shm, zone_conf& zone)
{
    std::vector<const key_file*> files;
    std::span<key_source*> sources = sources_of(zone);
    for (key_source* source : sources) {
        files.push_back(source->parsed);
    }
    if (check_room(shm, zone, files) != NGX_OK || begin_staging(shm, zone) != NGX_OK) {
        return NGX_ERROR;
    }
    zone.staged = key_table::write(zone.state->next_key_area(), files);

    for (key_source* source : sources) {
        *source->parsed = {};
    }
#ifdef __GLIBC__
    // A million keys leave hundreds of megabytes of freed records, which every worker would inherit. Other
    // C libraries give them back by themselves, or cannot be asked to.
    malloc_trim(0);
#endif
    return NGX_OK;
}

// Names in the table that is in force. Who has the publisher's ticket needs no lock to read it: nobody else
// changes it.
std::unordered_set<std::string_view> names_in_force(const shared_state& state, subject_kind kind)
{
    std::unordered_set<std::string_view> names;
    for (const key_table::file_info& f : state.keys()->files()) {
        for (uint32_t i = 0; i < f.n_keys; i++) {
            names.insert(kind == subject_kind::key ? f.keys[i].name.view() : f.keys[i].user.view());
        }
    }
    return names;
}

// Counters of keys and users that are gone are kept, in case they come back, as long as there is plenty of
// room. Returns how many subjects keys and users need with them, or a little more where it does not matter.
size_t drop_orphans(zone_conf& zone)
{
    const subject_table& subjects = zone.state->subjects();
    const size_t half = subjects.capacity() / 2;
    const size_t at_most = zone.staged_subjects + subjects.used();
    if (at_most <= half) {
        return at_most;
    }
    const bool drops = subjects.used() > half;
    size_t orphans = 0;
    auto keys = names_in_force(*zone.state, subject_kind::key);
    auto users = names_in_force(*zone.state, subject_kind::user);
    for (uint32_t i = 0, end = subjects.high_water(); i < end; i++) {
        if (!subjects.valid(i)) {
            continue;
        }
        // Seen without the lock, which is taken only for those that go: by then the number may be another's.
        const subject& s = subjects.at(i);
        const subject_kind kind = s.kind;
        char name_bytes[max_name];
        const std::string_view name(name_bytes, s.name().copy(name_bytes, sizeof name_bytes));
        const auto& names = kind == subject_kind::key ? keys : users;
        if ((kind != subject_kind::key && kind != subject_kind::user) || names.contains(name)) {
            continue;
        }
        bool dropped = false;
        if (drops) {
            zone_session session(zone);
            dropped = session->drop_subject(i, kind, name);
        }
        orphans += !dropped;
    }
    return zone.staged_subjects + orphans;
}

// Models that keys name have counts of their own from the beginning. Patterns name none.
void name_models(zone_conf& zone)
{
    std::unordered_set<const shared_policy*> seen;
    for (const key_table::file_info& f : zone.state->keys()->files()) {
        for (uint32_t i = 0; i < f.n_keys; i++) {
            const shared_policy* policy = f.keys[i].policy;
            if (policy->n_models == 0 || !seen.insert(policy).second) {
                continue;
            }
            for (const shared_text& model : std::span(policy->models, policy->n_models)) {
                if (model.view().find('*') == std::string_view::npos) {
                    zone_session session(zone);
                    session->name_model(model.view(), {0, wall_clock_ms()});
                }
            }
        }
    }
}

// What is counted for keys that are gone may make room for others.
void mark_gone(zone_conf& zone)
{
    const auto& clients = zone.state->counted().clients();
    const auto names_of = [](std::string_view key, std::string_view user) {
        return std::string(key).append(1, '\0').append(user);
    };
    struct seen {
        uint32_t index;
        uint64_t serial;
        bool gone;
    };
    std::unordered_map<std::string, seen> in_book;
    for (uint32_t i = book::none + 1; i < clients.high_water(); i++) {
        if (clients.is_made(i)) {
            const book_client& c = clients.at(i);
            in_book[names_of(c.key(), c.user())] = {i, c.serial, true};
        }
    }
    if (in_book.empty()) {
        return;
    }
    for (const key_table::file_info& f : zone.state->keys()->files()) {
        for (uint32_t i = 0; i < f.n_keys; i++) {
            const auto found = in_book.find(names_of(f.keys[i].name.view(), f.keys[i].user.view()));
            if (found != in_book.end()) {
                found->second.gone = false;
            }
        }
    }
    for (const auto& [names, client] : in_book) {
        if (clients.at(client.index).gone != client.gone) {
            zone_session session(zone);
            session->set_gone(client.index, client.serial, client.gone);
        }
    }
}

// The directory that state= is in, which is the workers'. nginx makes those of its own caches likewise.
ngx_int_t make_directory(zone_conf& zone, const ngx_core_conf_t& core)
{
    const std::string path(view(zone.state_path));
    const std::string directory = path.substr(0, path.rfind('/'));
    if (directory.empty() || mkdir(directory.c_str(), 0700) != 0) {
        // What is there is left as it is; what cannot be made is found by the look at the file.
        return NGX_OK;
    }
    if (geteuid() == 0 && chown(directory.c_str(), core.user, core.group) != 0) {
        ngx_log_error(NGX_LOG_EMERG, zone.shm->shm.log, ngx_errno, "chown(\"%s\") failed", directory.c_str());
        return NGX_ERROR;
    }
    return NGX_OK;
}

ngx_int_t look_at_state(zone_conf& zone)
{
    const auto* core =
        reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(zone.cycle->conf_ctx, ngx_core_module));
    zone.has_master = core->master != 0;
    zone.parent_of_master = ngx_parent;
    if (zone.state_path.len == 0) {
        return NGX_OK;
    }
    if (make_directory(zone, *core) != NGX_OK) {
        return NGX_ERROR;
    }
    return run_as_worker(zone.cycle, zone, check_state, "looks at the state") ? NGX_OK : NGX_ERROR;
}

} // namespace

std::optional<std::span<const file_entry>> files_of(const zone_conf& zone, ngx_pool_t* pool)
{
    void* memory = nullptr;
    size_t size = 0;
    // A reload may put more files in force before the lock is taken again.
    for (;;) {
        {
            zone_session session(zone);
            const auto files = session->keys()->files();
            const size_t needed = file_list_bytes(files);
            if (memory && needed <= size) {
                return copy_files(files, memory);
            }
            size = needed;
        }
        memory = ngx_palloc(pool, std::max<size_t>(size, 1));
        if (!memory) {
            return {};
        }
    }
}

ngx_int_t zone_init(ngx_shm_zone_t* shm, void* old)
{
    auto& zone = *static_cast<zone_conf*>(shm->data);
    if (attach(shm, zone, static_cast<const zone_conf*>(old)) != NGX_OK || look_at_state(zone) != NGX_OK) {
        return NGX_ERROR;
    }
    return stage(shm, zone);
}

void zone_abandon(zone_conf& zone)
{
    // A zone of this configuration alone is gone by now.
    if (zone.ticket != 0 && zone.inherited) {
        zone_session session(zone);
        session->end_staging(zone.ticket);
    }
    zone.ticket = 0;
}

void zone_publish(zone_conf& zone)
{
    bool done = false;
    {
        zone_session session(zone);
        done = session->publish(zone.ticket, zone.staged);
    }
    if (!done) {
        // Cannot be: this process has the ticket for as long as it lives.
        ngx_log_error(NGX_LOG_ALERT, zone.shm->shm.log, 0, "llm_zone \"%V\": the new keys are lost",
                      &zone.name);
        return;
    }
    name_models(zone);
    mark_gone(zone);
    const size_t needed = drop_orphans(zone);
    zone_session session(zone);
    session->set_needed(needed);
    session->end_staging(zone.ticket);
    zone.ticket = 0;
}

} // namespace llm
