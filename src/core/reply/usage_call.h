// Internal to usage_reader.
#pragma once

#include "usage.h"
#include "usage_paths.h"

namespace llm {

// What holds during one call of feed() or finish().
struct usage_reader::call {
    usage_reader& self;
    const reply_path* parts;
    std::string_view bytes; // that the scanner is fed
    uint64_t offset;        // of the first of them
    const erase_sink& erase;

    json_sink sink() { return {take, this}; }
};

} // namespace llm
