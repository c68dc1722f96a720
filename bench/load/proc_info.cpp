#include "proc_info.h"

#include <cstdlib>
#include <fstream>
#include <string>

namespace bench {

std::uint64_t cpu_ns_of(int pid)
{
    std::uint64_t ns = 0;
    std::ifstream("/proc/" + std::to_string(pid) + "/schedstat") >> ns;
    return ns;
}

proc_info inspect(int pid)
{
    proc_info info;
    info.cpu_ns = cpu_ns_of(pid);
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
    return info;
}

} // namespace bench
