// What a chunk of a stream says by its `usage`, read from that member on and around the choice's text: the
// rest of the chunk is not looked at, nor proved to be JSON. Holds nothing from one event to the next.
#pragma once

#include "text_place.h"
#include "usage_counts.h"

#include <cstddef>
#include <cstdint>

namespace llm {

struct event_usage {
    enum class kind : uint8_t { none, null, counts };

    size_t size = 0; // of the event, its empty line included; 0: it has to be read
    kind is = kind::none;
    size_t erase_begin = 0; // the member with the comma before it, from the event's begin
    size_t erase_end = 0;
    uint64_t text = 0; // bytes of it that the event shows
    // With counts only:
    uint32_t choice_index = 0;
    usage_counts counts;
};

// `name` is the quote of a name `usage` in the event at `begin`, an event of one line of data that shows
// `text`; bytes up to `end` can be read. Sets all of `event` but `text`, or leaves its size 0: where the
// member may not be the event's own and only one, where something stands behind it that may tell, and where
// it has counts that are all 0, or that may be of more than one choice.
void read_event_usage(const char* begin, const char* name, const char* end, const text_place::found& text,
                      event_usage& event);

} // namespace llm
