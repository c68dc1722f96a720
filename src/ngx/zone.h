// The shared zone of `llm_zone`: attached when nginx makes it, changed at the commit point of a reload.
#pragma once

#include "ngx.hpp"

#include "core/shared/file_list.h"
#include "core/shared/shared_state.h"

#include <optional>

namespace llm {

// A key file that some `llm_api_keys` names. Lives in the cycle's pool.
struct key_source {
    ngx_str_t path;
    uint64_t id;         // name_hash(path)
    ngx_str_t zone_name; // empty: the only zone there is
    struct zone_conf* zone;
    key_file* parsed; // until it is in the zone; owned by the cycle's pool
    bool by_name;     // some directive has `identity=`: its keys are found by their names too
    // Where the directive stands, for messages.
    ngx_str_t conf_file;
    ngx_uint_t conf_line;
};

struct zone_conf {
    ngx_str_t name;
    ngx_shm_zone_t* shm;
    ngx_array_t sources; // key_source*
    // Set when the zone is attached, the same in every process.
    shared_state* state;
    ngx_slab_pool_t* pool;
    // The table that init_module will put in force, and the right to do so; no ticket afterwards.
    key_table* staged;
    publisher::ticket ticket;
    bool inherited;          // the zone was there before this configuration
    bool keeps_file;         // and its state was in the same file
    size_t staged_subjects;  // that its keys and users need
    uint64_t configuration;  // the number of this one, see shared_state
    struct key_watch* watch; // of the keeper; nullptr elsewhere
    // Of this process; no_index before it has one.
    uint32_t owner;
    // state= and keep=, see keeper/state_duty.h
    ngx_str_t state_path; // empty: nothing is kept
    int64_t keep_s;       // 0: forever
    ngx_cycle_t* cycle;   // of this configuration
    bool has_master;
    ngx_pid_t parent_of_master;
    class state_store* store; // of the keeper; nullptr elsewhere
    // How the zone stood when its requests in this worker were looked at last: running.cpp.
    struct {
        uint64_t generation;
        uint64_t stops;
        int64_t next_expiry; // of a key that has requests here; seconds since 1970
    } looked;
};

inline std::span<key_source*> sources_of(const zone_conf& zone)
{
    return {static_cast<key_source**>(zone.sources.elts), zone.sources.nelts};
}

// A zone that a directive names, or means as the only one. Lives in the cycle's pool.
struct zone_ref {
    std::string_view directive;
    ngx_str_t name; // empty: the only zone there is
    zone_conf* zone;
    // Where the directive stands, for messages.
    ngx_str_t conf_file;
    ngx_uint_t conf_line;
};

// A key of a request of this worker expires then; 0: never.
inline void note_expiry(zone_conf& zone, int64_t expires)
{
    if (expires != 0 && expires < zone.looked.next_expiry) {
        zone.looked.next_expiry = expires;
    }
}

// The zone's lock for the lifetime of this object. It is the slab mutex, since that is the one lock that the
// master frees when its holder is killed; what such a holder left half done is repaired before this
// constructor returns.
class zone_session {
public:
    explicit zone_session(const zone_conf& zone) : pool_(zone.pool), state_(*zone.state)
    {
        ngx_shmtx_lock(&pool_->mutex);
        state_.enter();
    }
    ~zone_session()
    {
        state_.leave();
        ngx_shmtx_unlock(&pool_->mutex);
    }
    zone_session(const zone_session&) = delete;
    zone_session& operator=(const zone_session&) = delete;

    shared_state* operator->() const { return &state_; }

private:
    ngx_slab_pool_t* pool_;
    shared_state& state_;
};

// Calls f with the zone locked, and returns what it returns.
template <class F>
auto with_lock(const zone_conf& zone, F&& f)
{
    zone_session session(zone);
    return f();
}

// The same as an object, for what takes the lock for each slice by itself.
struct zone_locker {
    const zone_conf& zone;

    template <class F>
    void operator()(F&& f) const
    {
        with_lock(zone, f);
    }
};

// What its bytes are for. Takes the lock.
inline shared_state::part_list parts_of(const zone_conf& zone)
{
    zone_session session(zone);
    return session->parts(zone.shm->shm.size);
}

// The key files in force, copied into the pool: nothing is allocated while the zone is locked. Nothing if
// there is no memory. Takes the lock.
std::optional<std::span<const file_entry>> files_of(const zone_conf& zone, ngx_pool_t* pool);

// ngx_shm_zone_t's init. Runs before a new configuration is sure to come into force, hence only attaches the
// zone and writes the new keys beside the old ones.
ngx_int_t zone_init(ngx_shm_zone_t* shm, void* old);
// Gives back what zone_init took, where the configuration does not come into force after all.
void zone_abandon(zone_conf& zone);
// Puts the staged keys in force, for the workers of the old and the new configuration at once.
void zone_publish(zone_conf& zone);

} // namespace llm
