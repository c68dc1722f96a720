// Tokens of one request, so far or in all.
#pragma once

#include <cstdint>

namespace llm {

struct token_counts {
    uint64_t prompt = 0;
    uint64_t cached = 0; // part of prompt
    uint64_t completion = 0;
    uint64_t reasoning = 0;   // part of completion
    uint64_t cache_write = 0; // part of prompt, beside cached

    void add(const token_counts& more)
    {
        prompt += more.prompt;
        cached += more.cached;
        completion += more.completion;
        reasoning += more.reasoning;
        cache_write += more.cache_write;
    }

    bool operator==(const token_counts&) const = default;
};

} // namespace llm
