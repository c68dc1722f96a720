#include "owner.h"

#include "clock.h"

#include "process.h"

namespace llm {

namespace {

void take_back(zone_conf& zone, uint32_t number, const lease_owner& who)
{
    zone.state->take_back(number, who, now_of_both_clocks(), zone_locker{zone});
}

} // namespace

lease_owner this_process()
{
    auto pid = static_cast<uint32_t>(ngx_pid);
    return {pid, start_time_of(pid)};
}

uint32_t owner_number(zone_conf& zone)
{
    if (zone.owner == no_index) {
        lease_owner self = this_process();
        zone.owner = with_lock(zone, [&] { return zone.state->claim_owner(self); });
    }
    return zone.owner;
}

void sweep_owners(zone_conf& zone)
{
    auto places = static_cast<uint32_t>(with_lock(zone, [&] { return zone.state->owners().size(); }));
    for (uint32_t i = 0; i < places; i++) {
        lease_owner owner = with_lock(zone, [&] { return zone.state->owners()[i]; });
        if (owner.pid != 0 && is_gone(owner.pid, owner.started)) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "llm_zone \"%V\": taking back the leases of process %uD, which is gone", &zone.name,
                          owner.pid);
            take_back(zone, i, owner);
        }
    }
}

void release_owner(zone_conf& zone)
{
    if (zone.owner != no_index) {
        take_back(zone, zone.owner, this_process());
        zone.owner = no_index;
    }
}

} // namespace llm
