// How much of a model's text a reply has shown: what estimates of its tokens are made from.
#pragma once

#include <cstdint>

namespace llm {

struct text_size {
    uint64_t bytes = 0;  // of text, reasoning and arguments of tools, unescaped
    uint64_t pieces = 0; // events of a stream that each brought some of it

    void add(const text_size& more)
    {
        bytes += more.bytes;
        pieces += more.pieces;
    }
    bool operator==(const text_size&) const = default;
};

} // namespace llm
