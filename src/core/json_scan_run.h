// Internal to json_scanner.
#pragma once

#include "json_scan.h"

namespace llm {

// What holds during one call of feed.
struct json_scanner::run {
    const json_path* paths;
    json_sink sink;
    const char* begin;
    uint64_t base;

    uint64_t at(const char* p) const { return base + static_cast<uint64_t>(p - begin); }
};

} // namespace llm
