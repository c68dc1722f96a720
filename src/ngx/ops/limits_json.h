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

// The member `expires`: null, or the time in RFC 3339. `expires` is in seconds since 1970, 0 = never.
void put_expiry(json_writer& out, int64_t expires);

} // namespace llm
