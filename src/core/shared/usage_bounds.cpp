#include "usage_bounds.h"

#include <algorithm>

namespace llm {

namespace {

uint64_t of_all_choices(uint64_t each, const request_size& size)
{
    return std::min(each, token_estimator::max_completion)
           * std::clamp<uint64_t>(size.choices, 1, request_size::max_choices);
}

} // namespace

uint64_t max_estimated_completion(const request_size& size)
{
    return of_all_choices(size.max_tokens != 0 ? size.max_tokens : token_estimator::max_completion, size);
}

usage_bounds::usage_bounds(const request_size& size)
    : prompt(std::max(size.prompt_bytes, max_prompt)),
      completion(of_all_choices(token_estimator::max_completion, size))
{
}

token_counts usage_bounds::within(const token_counts& told, uint64_t shown) const
{
    token_counts c = told;
    c.prompt = std::min(c.prompt, prompt);
    c.cached = std::min(c.cached, c.prompt);
    c.cache_write = std::min(c.cache_write, c.prompt - c.cached);
    c.completion = std::min(c.completion, std::max(completion, shown));
    c.reasoning = std::min(c.reasoning, c.completion);
    return c;
}

} // namespace llm
