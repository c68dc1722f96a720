#include "owner.h"

#include "clock.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace llm {

namespace {

// 0 if it can't be read (no /proc, or hidden from this user).
uint64_t start_time(uint32_t pid)
{
    char text[1024];
    snprintf(text, sizeof text, "/proc/%u/stat", pid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';

    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    const char* p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p + 1, ' ');
    }
    return p ? strtoull(p + 1, nullptr, 10) : 0;
}

template <class F>
auto with_lock(zone_conf& zone, F&& f)
{
    zone_session session(zone);
    return f();
}

void take_back(zone_conf& zone, uint32_t number, const lease_owner& who)
{
    zone.state->take_back(number, who, now_of_both_clocks(), [&](auto&& change) { with_lock(zone, change); });
}

} // namespace

lease_owner this_process()
{
    auto pid = static_cast<uint32_t>(ngx_pid);
    return {pid, start_time(pid)};
}

bool is_gone(const lease_owner& owner)
{
    if (kill(static_cast<pid_t>(owner.pid), 0) == -1) {
        return errno == ESRCH;
    }
    if (owner.started == 0) {
        return false;
    }
    uint64_t started = start_time(owner.pid);
    return started != 0 && started != owner.started;
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
        if (owner.pid != 0 && is_gone(owner)) {
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
