// How long turns take with many keys. Figures only: LLM_STATE_KEYS=1000000 for the whole.
#include "state_files.h"

#include <cstdio>
#include <random>
#include <sys/resource.h>

using namespace llm;

namespace {

double cpu_seconds()
{
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
           + static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

constexpr int turns_a_second = 2;

} // namespace

TEST(state_figures, many_keys)
{
    gone_masters.clear();
    const char* asked = getenv("LLM_STATE_KEYS");
    const size_t keys = asked ? strtoul(asked, nullptr, 10) : 10000;
    const size_t active = keys / 100;
    const temp_dir dir;
    const std::string path = dir / "state.db";
    const key_file file = file_of("keys.json", keys);
    const key_file* files[] = {&file};
    const size_t bytes = shared_state::bytes_for(key_table::bytes(files), keys * 2);
    std::mt19937 random(6);
    const int seconds = asked ? 180 : 3;
    const auto figures = [&](gateway& g, const char* what, auto&& key_of) {
        double cpu = 0, longest = 0;
        int turns = 0;
        for (int i = 0; i < seconds * turns_a_second; i++) {
            for (size_t k = 0; k < active / turns_a_second; k++) {
                ASSERT_NO_FATAL_FAILURE(
                    g.use(key_of(i % turns_a_second * (active / turns_a_second) + k), 10, 20));
            }
            g.now.unix_ms += 1000 / turns_a_second;
            g.now.ns += gateway::second / turns_a_second;
            const double before = cpu_seconds();
            for (bool more = true; more; turns++) {
                const double began = cpu_seconds();
                const state_result r = g.turn();
                ASSERT_TRUE(r.ok()) << r.text;
                more = r.more;
                longest = std::max(longest, cpu_seconds() - began);
            }
            cpu += cpu_seconds() - before;
        }
        printf("%s: %zu of %zu keys a second: %.1f %% of a core, %d turns, the longest %.0f ms of CPU time\n",
               what, active, keys, cpu / seconds * 100, turns, longest * 1000);
    };
    {
        gateway a(path, 1, 0, keys, bytes);
        a.options.turn_ms = 40;
        a.start();
        ASSERT_TRUE(a.restore().ok());
        for (uint64_t i = 0; i < keys; i++) {
            ASSERT_NO_FATAL_FAILURE(a.use(i, 10, 20)) << i;
        }
        const double before = cpu_seconds();
        a.write();
        printf("all of %zu keys written for the first time: %.1f s\n", keys, cpu_seconds() - before);
        figures(a, "the same keys", [&](size_t i) { return i * 97 % keys; });
        figures(a, "any keys", [&](size_t) { return random() % keys; });
        ASSERT_TRUE(a.close().ok());
    }
    gateway b(path, 2, 0, keys, bytes);
    const double before = cpu_seconds();
    ASSERT_TRUE(b.restore().ok());
    printf("restored: %.1f s\n", cpu_seconds() - before);
    printf("%ju bytes\n", static_cast<uintmax_t>(std::filesystem::file_size(path)));
}
