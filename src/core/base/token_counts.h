// Tokens of one request, or of many.
#pragma once

#include <cstdint>

namespace llm {

struct token_counts {
    uint64_t prompt = 0;
    uint64_t completion = 0;
    uint64_t cached = 0;      // part of prompt
    uint64_t cache_write = 0; // part of prompt, beside cached
    uint64_t reasoning = 0;   // part of completion

    bool operator==(const token_counts&) const = default;
};

} // namespace llm
