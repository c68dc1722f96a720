// What the rate limit headers say, as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

inline constexpr size_t limit_text_bytes = 40;

// A duration as OpenAI's x-ratelimit-reset-* headers have it, which is Go's form: 0s, 120ms, 1.5s, 6m0s,
// 1h0m0s. `out` has room for limit_text_bytes.
std::string_view write_duration(uint64_t ms, char* out);

// A moment as RFC 3339 has it, in UTC and whole seconds: Anthropic's anthropic-ratelimit-*-reset headers.
std::string_view write_time(int64_t unix_ms, char* out);

} // namespace llm
