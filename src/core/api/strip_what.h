// What of a stream of chat or completion events is there only because the gateway asked for it.
#pragma once

#include <cstdint>

namespace llm {

enum class strip_what : uint8_t {
    nothing,
    last,    // events whose `choices` are empty and that have usage
    running, // `usage` at the top of events that have choices
    all,     // both, and `usage` at the top of any other event
};

} // namespace llm
