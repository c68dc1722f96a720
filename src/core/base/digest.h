// The SHA-256 digest of an API key: the only form in which a key is kept.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llm {

using digest = std::array<uint8_t, 32>;

// True if both are the same. Takes the same time wherever they differ, so that an answer's delay tells
// nothing of a stored digest.
inline bool digest_equal(const uint8_t* a, const uint8_t* b)
{
    uint64_t difference = 0;
    for (size_t i = 0; i < sizeof(digest); i += sizeof(uint64_t)) {
        uint64_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        difference |= x ^ y;
    }
    return difference == 0;
}

} // namespace llm
