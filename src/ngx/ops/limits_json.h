// Limits and dates of keys, as status and usage have them.
#pragma once

#include "json_writer.h"

#include "core/shared/limit_state.h"

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace llm {

// How somebody stands: `per` says who, as llm_limit does.
struct limit_list {
    std::string_view per;
    std::span<const limit_state> limits;
};

// An array of all of them.
void put_limits(json_writer& out, std::initializer_list<limit_list> lists);

// A member: null, or the time in RFC 3339. `seconds` since 1970, 0 = never.
void put_time(json_writer& out, std::string_view name, int64_t seconds);
inline void put_expiry(json_writer& out, int64_t expires)
{
    put_time(out, "expires", expires);
}

} // namespace llm
