// What a client's key may be made of.
#pragma once

#include "core/base/chars.h"

#include <algorithm>
#include <cstddef>

namespace llm {

inline constexpr size_t max_secret = 512; // bytes
inline constexpr size_t good_secret = 16; // shorter ones are warned of

inline bool is_secret(std::string_view text)
{
    return !text.empty() && text.size() <= max_secret && std::all_of(text.begin(), text.end(), is_visible);
}

} // namespace llm
