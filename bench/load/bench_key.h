// The keys that the key file holds and the clients use: one rule for both.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace bench {

inline std::string bench_key(std::uint64_t index)
{
    char text[48];
    std::snprintf(text, sizeof text, "sk-bench-%08llu-0123456789abcdef",
                  static_cast<unsigned long long>(index));
    return text;
}

// Writes a key file with `count` keys to standard output.
int write_key_file(std::uint64_t count);
// The same keys for those who keep them as they are: a line "KEY USER" each.
int write_key_names(std::uint64_t count);

} // namespace bench
