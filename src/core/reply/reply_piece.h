// A part of a reply.
#pragma once

#include <cstddef>
#include <string_view>

namespace llm {

// Not initialized by itself: an array of many is made for each read, of which few are used.
struct reply_piece {
    const char* data;
    size_t size;
    // What of it is not for the client, from `data` on; nothing where the end is 0.
    size_t erase_begin;
    size_t erase_end;

    std::string_view bytes() const { return {data, size}; }
};

} // namespace llm
