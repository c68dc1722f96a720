// The limits as llm_limit and key files name them: their names, spellings and least values.
#pragma once

#include "core/limit/limits.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace llm {

struct limit_field {
    enum class kind : uint8_t { requests_rate, tokens_rate, count, quota };

    std::string_view name;
    kind is;
    std::string_view expected; // for messages: a value such as it
    rate limits::*rate_at = nullptr;
    int64_t limits::*count_at = nullptr;
    int64_t least = 0; // of a count

    // Reads a value as text. False, and nothing changed, if it is none of the field's.
    bool read(std::string_view text, limits& to) const;
    // The same of a number.
    bool read(int64_t number, limits& to) const;
};

// Those that key files have come first.
inline constexpr size_t own_limit_fields = 6;
inline constexpr std::array<limit_field, own_limit_fields + 1> limit_fields = {{
    {.name = "requests",
     .is = limit_field::kind::requests_rate,
     .expected = "a rate such as 10r/s",
     .rate_at = &limits::requests},
    {.name = "burst",
     .is = limit_field::kind::count,
     .expected = "a number of requests",
     .count_at = &limits::burst},
    {.name = "concurrency",
     .is = limit_field::kind::count,
     .expected = "a number of requests from 1 up",
     .count_at = &limits::concurrency,
     .least = 1},
    {.name = "tokens",
     .is = limit_field::kind::tokens_rate,
     .expected = "a rate such as 100k/m",
     .rate_at = &limits::tokens},
    {.name = "token_burst",
     .is = limit_field::kind::count,
     .expected = "a number of tokens from 1 up",
     .count_at = &limits::token_burst,
     .least = 1},
    {.name = "quota", .is = limit_field::kind::quota, .expected = "a quota such as 10m/d"},
    {.name = "failures",
     .is = limit_field::kind::requests_rate,
     .expected = "a rate such as 20r/m",
     .rate_at = &limits::failures},
}};

inline constexpr const limit_field& quota_field = limit_fields[5];
static_assert(quota_field.is == limit_field::kind::quota);

} // namespace llm
