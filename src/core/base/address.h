// Addresses of clients: 4 or 16 bytes, in network order.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace llm {

// An IPv4 address that is mapped into IPv6 as the IPv4 address; any other as it is.
inline std::span<const uint8_t> unmapped(std::span<const uint8_t> address)
{
    static constexpr uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool is_mapped = address.size() == 16 && memcmp(address.data(), mapped, sizeof mapped) == 0;
    return is_mapped ? address.subspan(sizeof mapped) : address;
}

} // namespace llm
