// Which counts a request can have used. What an upstream tells beyond that is a mistake, and would be a debt
// of years.
#pragma once

#include "core/base/token_counts.h"
#include "estimate.h"

#include <cstdint>

namespace llm {

struct usage_bounds {
    // Contexts are smaller than this. A prompt can be longer than its bytes: it may name what is stored.
    static constexpr uint64_t max_prompt = 1 << 21;

    uint64_t prompt;
    uint64_t completion; // of all choices. A server may go beyond what the request wanted at most

    explicit usage_bounds(const request_size& size);

    // `shown` is how many bytes the reply had of text: each may have been a token.
    token_counts within(const token_counts& told, uint64_t shown) const;
};

// The most completion that is charged by estimate.
uint64_t max_estimated_completion(const request_size& size);

} // namespace llm
