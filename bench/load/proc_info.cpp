#include "proc_info.h"

#include <cstdlib>
#include <fstream>
#include <string>
#include <time.h>

namespace bench {

namespace {

// The process's CPU clock: what schedstat has for each thread, summed up by the kernel.
std::uint64_t cpu_ns(int pid)
{
    clockid_t clock{};
    timespec time{};
    if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(time.tv_sec) * 1000000000u + static_cast<std::uint64_t>(time.tv_nsec);
}

void add_memory(proc_info& info, int pid)
{
    std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
        const auto value = [&line](const char* name) -> std::uint64_t {
            const std::size_t size = std::string(name).size();
            return line.compare(0, size, name) == 0 ? std::strtoull(line.c_str() + size, nullptr, 10) : 0;
        };
        info.anon_kb += value("Anonymous:");
        info.pss_anon_kb += value("Pss_Anon:");
        info.shmem_kb += value("Pss_Shmem:");
    }
}

} // namespace

std::uint64_t cpu_ns_of(const process_group& pids)
{
    std::uint64_t ns = 0;
    for (const int pid : pids) {
        ns += cpu_ns(pid);
    }
    return ns;
}

proc_info inspect(const process_group& pids)
{
    proc_info info;
    info.cpu_ns = cpu_ns_of(pids);
    for (const int pid : pids) {
        add_memory(info, pid);
    }
    return info;
}

} // namespace bench
