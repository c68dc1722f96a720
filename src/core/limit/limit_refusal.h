// Which limit refuses a request.
#pragma once

#include "limits.h"
#include "scope.h"

#include <cstdint>

namespace llm {

enum class limit_kind : uint8_t { none, requests, tokens, concurrency, quota, failures };

// The limit that refused. Where several do, the one with the longest wait: then waiting that long is enough.
struct limit_refusal {
    static constexpr uint64_t wait_unknown = 0; // until other requests end
    static constexpr uint64_t wait_never = UINT64_MAX;

    limit_kind kind = limit_kind::none;
    subject_kind scope = subject_kind::none;
    quota_window window = quota_window::none; // of a quota
    uint64_t limit = 0;                       // of a rate: what it lets in each period, whatever its burst is
    uint64_t wait_ms = wait_unknown;
    uint64_t period_ms = 0; // of a rate
};

} // namespace llm
