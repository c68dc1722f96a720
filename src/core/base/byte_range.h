#pragma once

#include <cstdint>

namespace llm {

// Bytes of a text, by their offsets: from `begin` up to and without `end`.
struct byte_range {
    uint64_t begin;
    uint64_t end;

    uint64_t size() const { return end - begin; }
    bool operator==(const byte_range&) const = default;
};

} // namespace llm
