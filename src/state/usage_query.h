// Sums out of the ledger of a state file, which is only read. docs/state.md
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llm {

enum class usage_column : uint8_t { day, key, user, model };

struct usage_query {
    int64_t from = INT64_MIN;     // hours that begin at this second since 1970 or later
    int64_t to = INT64_MAX;       // and before this one
    std::vector<usage_column> by; // each once; none: one row for all
};

struct usage_sums {
    uint64_t requests = 0;
    uint64_t refused = 0; // of these
    uint64_t prompt = 0;
    uint64_t cached = 0;
    uint64_t completion = 0;
    uint64_t reasoning = 0;
    uint64_t cache_write = 0;
    uint64_t cost = 0;
};

struct usage_row {
    std::vector<std::string> names; // in the order of `by`; days as "2026-11-30"
    usage_sums sums;
};

// Sorted by day, where that is asked for, then by cost, the greatest first. On an error its text, without the
// path: no such file, no rights, a file of another program, a newer format, a damaged one.
std::optional<std::string> read_usage(const std::string& path, const usage_query& query,
                                      std::vector<usage_row>& rows);

} // namespace llm
