// Numbers, rates and quotas as they are spelled in key files and directives. All amounts fit int64_t.
#pragma once

#include "core/limit/limits.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace llm {

// Which spelling a rate has: requests have an `r` before the slash ("10r/s"), as in limit_req; tokens have
// none ("100k/m").
enum class rate_unit : uint8_t { requests, tokens };

struct quota_text {
    uint64_t amount;
    quota_window window;
};

// Decimal digits, then `k` (thousands) or `m` (millions) of either case, or nothing: "500", "100k". 0 is
// allowed.
std::optional<uint64_t> parse_count(std::string_view text);

// A count above 0 per s, m, h or d: "10r/s", "100k/m".
std::optional<rate> parse_rate(std::string_view text, rate_unit kind);

// A count above 0 per h, d, w, mo, or in total: "10m/mo", "500k/total".
std::optional<quota_text> parse_quota(std::string_view text);

} // namespace llm
