// A hash for names that the operator chooses (users, keys, paths). Not for what clients send: it is not
// keyed, so that they could choose names that collide.
#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// FNV-1a, 64 bits: offset basis and prime as its authors give them.
inline uint64_t name_hash(std::string_view name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (char c : name) {
        hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    }
    return hash ^ (hash >> 32);
}

} // namespace llm
