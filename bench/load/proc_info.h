// What /proc says about the process that is measured.
#pragma once

#include <cstdint>
#include <vector>

namespace bench {

using process_group = std::vector<int>; // pids

struct proc_info {
    std::uint64_t cpu_ns = 0;  // time on a CPU
    std::uint64_t anon_kb = 0; // anonymous memory mapped: not the shared zone, whoever shares it after a fork
    std::uint64_t pss_anon_kb = 0;
    std::uint64_t shmem_kb = 0; // of the shared zone
};

// Of all of them, with all their threads, those that have ended too.
std::uint64_t cpu_ns_of(const process_group& pids);
proc_info inspect(const process_group& pids);

} // namespace bench
