// A body's bytes, wherever they are kept.
#pragma once

#include "core/base/byte_range.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm {

struct body_bytes {
    // At least one of the bytes of this range, from its first on, valid until the next call. Empty if they
    // cannot be read.
    std::string_view (*read)(void* owner, const byte_range& range);
    void* owner;

    // All of them, if need be copied into `room`, which has space for them. Empty likewise.
    std::string_view all(const byte_range& range, char* room) const
    {
        std::string_view piece = read(owner, range);
        if (piece.size() == range.size()) {
            return piece;
        }
        size_t size = 0;
        while (!piece.empty()) {
            std::memcpy(room + size, piece.data(), piece.size());
            size += piece.size();
            if (size == range.size()) {
                return {room, size};
            }
            piece = read(owner, {range.begin + size, range.end});
        }
        return {};
    }
};

} // namespace llm
