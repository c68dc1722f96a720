#include "zone.h"

#include "clock.h"
#include "key_publication.h"

#include "core/shared/key_records.h"
#include "keys/file_look.h"

#include "ngx/keeper/state_duty.h"

#include <algorithm>
#include <span>
#include <sys/random.h>
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
    zone.keeps_file = old && view(old->state_path) == view(zone.state_path);
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

// The right to write the next key table.
ngx_int_t begin_staging(ngx_shm_zone_t* shm, zone_conf& zone)
{
    for (ngx_msec_t waited = 0; waited <= max_wait_ms; waited += wait_step_ms) {
        zone.ticket = try_begin_staging(zone);
        if (zone.ticket != 0) {
            return NGX_OK;
        }
        ngx_msleep(wait_step_ms);
    }
    ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                  "llm_zone \"%V\": another process is still writing keys: try again", &zone.name);
    return NGX_ERROR;
}

// The keeper may have read a file since this process did. The ticket is taken, so that it reads no more.
void take_later_text(const zone_conf& zone, key_source& source)
{
    const key_table::file_info* in_force = zone.state->keys() ? zone.state->keys()->file(source.id) : nullptr;
    if (!in_force) {
        return;
    }
    const file_stamp now = stamp_of(reinterpret_cast<const char*>(source.path.data));
    if (in_force->stamp == now && source.parsed->stamp != now) {
        *source.parsed = records_of(*in_force);
    }
}

// The next key table, beside the one in force.
ngx_int_t stage(ngx_shm_zone_t* shm, zone_conf& zone)
{
    if (begin_staging(shm, zone) != NGX_OK) {
        return NGX_ERROR;
    }
    std::vector<const key_file*> files;
    std::span<key_source*> sources = sources_of(zone);
    for (key_source* source : sources) {
        take_later_text(zone, *source);
        files.push_back(source->parsed);
    }
    if (const auto lack = lack_of_room(zone, files, zone.staged_subjects)) {
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0, "%s", lack->c_str());
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
    if (attach(shm, zone, static_cast<const zone_conf*>(old)) != NGX_OK || !prepare_state(zone)) {
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
        // From here on a keeper of the configuration before publishes no more.
        zone.configuration = session->begin_configuration();
    }
    if (!done) {
        // Cannot be: this process has the ticket for as long as it lives.
        ngx_log_error(NGX_LOG_ALERT, zone.shm->shm.log, 0, "llm_zone \"%V\": the new keys are lost",
                      &zone.name);
        return;
    }
    size_t kept = 0;
    const size_t needed = plan_followups(*zone.state, *zone.staged, zone.staged_subjects,
                                         [&](const key_followup& step) { kept += !follow_up(zone, step); });
    finish_publication(zone, zone.ticket, needed + kept);
    zone.ticket = 0;
}

} // namespace llm
