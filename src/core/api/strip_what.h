// What of a stream of chat or completion events is there only because the gateway asked for it.
#pragma once

#include <cstdint>

namespace llm {

enum class strip_what : uint8_t {
    nothing,
    last,    // events without choices that have usage
    running, // `usage` at the top of events with choices, but of those that end one; null at the top of any
    all,     // events without choices that have usage, and `usage` at the top of all others
};

} // namespace llm
