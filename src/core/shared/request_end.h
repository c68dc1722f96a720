// How a request ended, and how long what took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// The value of $llm_outcome. `lost`: its worker was killed.
enum class outcome : uint8_t { unknown, ok, incomplete, refused, client_abort, upstream_error, cut, lost };
inline constexpr size_t outcomes = 7; // all but unknown
inline constexpr size_t index_of(outcome o)
{
    return static_cast<size_t>(o) - 1;
}

// Where what a request has used is known from.
enum class usage_source : uint8_t { none, estimated, partial, upstream };
inline constexpr size_t usage_sources = 4;

// As variables, metrics and status have them; that of an unknown outcome is empty.
std::string_view outcome_name(outcome o);
std::string_view usage_source_name(usage_source s);

struct request_end {
    outcome is = outcome::ok;
    usage_source source = usage_source::none;
    bool let_in = true;      // else it has no source: it has ended before that was decided
    bool timed = false;      // its duration is known
    bool has_first = false;  // a stream, whose first content was seen
    uint32_t ms = 0;         // since it began
    uint32_t first_ms = 0;   // until the first content
    uint32_t token_us = 0;   // for each further token of a stream; 0 = not known
    uint32_t gateway_ns = 0; // that this module took; 0 = not measured
};

} // namespace llm
