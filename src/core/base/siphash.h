// SipHash-1-3, a keyed hash: who does not know the key cannot choose names that collide.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm {

using hash_key = std::array<uint64_t, 2>;

// The last 0 to 7 bytes of a text, from the lowest byte of a word on.
inline uint64_t siphash_tail(const char* p, size_t left, size_t size)
{
    uint64_t word = 0;
    if (left == 0) {
        return 0;
    }
    if (size >= 8) {
        memcpy(&word, p + left - 8, sizeof word);
        return word >> (8 * (8 - left));
    }
    if (left >= 4) {
        uint32_t first = 0;
        uint32_t last = 0;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + left - 4, sizeof last);
        return first | uint64_t{last} << (8 * (left - 4));
    }
    for (size_t i = 0; i < left; i++) {
        word |= uint64_t{static_cast<uint8_t>(p[i])} << (8 * i);
    }
    return word;
}

inline uint64_t siphash13(const hash_key& key, std::string_view text)
{
    static_assert(std::endian::native == std::endian::little);
    uint64_t a = key[0] ^ 0x736f6d6570736575u;
    uint64_t b = key[1] ^ 0x646f72616e646f6du;
    uint64_t c = key[0] ^ 0x6c7967656e657261u;
    uint64_t d = key[1] ^ 0x7465646279746573u;
    auto round = [&] {
        a += b;
        c += d;
        b = std::rotl(b, 13) ^ a;
        d = std::rotl(d, 16) ^ c;
        a = std::rotl(a, 32);
        c += b;
        a += d;
        b = std::rotl(b, 17) ^ c;
        d = std::rotl(d, 21) ^ a;
        c = std::rotl(c, 32);
    };

    const char* p = text.data();
    size_t left = text.size();
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        d ^= word;
        round();
        a ^= word;
    }
    const uint64_t last = uint64_t{text.size() & 0xff} << 56 | siphash_tail(p, left, text.size());
    d ^= last;
    round();
    a ^= last;

    c ^= 0xff;
    round();
    round();
    round();
    return a ^ b ^ c ^ d;
}

} // namespace llm
