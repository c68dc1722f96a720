// Bounds of tokens that are within a member of a request: of models that the server may fall back to, and of
// those of tools and plugins.
#pragma once

#include "body_bytes.h"

namespace llm {

enum class bounds_within : uint8_t { none, some, unreadable };

// Looks at the elements of a member's value, which is JSON without a fault: at the members of each, and at
// those of the objects in it, and of what these have in lists and as tools. What a function's schema says of
// an argument is no bound.
bounds_within bounds_within_of(const byte_range& value, const body_bytes& body);

} // namespace llm
