// What the values of a request's members say, as lenient servers read them.
#pragma once

#include "core/json/json_scan.h"

#include <cstdint>

namespace llm {

// A number that a request gives as its bound. `unbounded`: it is given, but as no clear count from 0 up (-1,
// "x", 5.5). An explicit null is `absent`.
struct request_bound {
    enum class state : uint8_t { absent, value, unbounded } is = state::absent;
    uint64_t value = 0;
};

// A request's yes or no, as pydantic's lax mode reads it. `no`: also null. `unclear`: servers refuse it, or
// differ.
enum class request_flag : uint8_t { absent, no, yes, unclear };

// The count that pydantic's lax mode reads: a whole number, its text in a string, or a bool. False for all
// else.
bool lax_count(const json_event& event, uint64_t& count);

request_flag flag_of(const json_event& event);

} // namespace llm
