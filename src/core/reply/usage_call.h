// Internal to usage_reader.
#pragma once

#include "usage.h"
#include "usage_paths.h"

namespace llm {

// What has to be known of a JSON reply for its pattern, from the events that tell of it.
struct reply_notes {
    static constexpr size_t max_counts = 8;

    std::array<reply_count, max_counts> counts;
    size_t size = 0;
    size_t usages = 0;
    bool other = false; // there is more than one usage object would say, or room for

    void add(usage_field field, const json_event& event)
    {
        if (event.type != json_type::number) {
            return;
        }
        if (size == max_counts) {
            other = true;
            return;
        }
        counts[size++] = {field, event.value_begin, event.value_end};
    }
};

// What holds during one call of feed() or finish().
struct usage_reader::call {
    usage_reader& self;
    const reply_path* parts;
    std::string_view bytes; // that the scanner is fed
    uint64_t offset;        // of the first of them
    const erase_sink& erase;
    reply_notes* notes = nullptr; // of the first piece of a JSON reply

    json_sink sink() { return {take, this}; }
};

} // namespace llm
