// Events of streams with named events that bring a piece of text and nothing else, as Anthropic's and the
// Responses API's: nearly all of each such stream. They are read here to the same end as by the scanner, but
// in the usual form only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

struct plain_delta {
    size_t size = 0;   // of the event, its empty line included; 0: it has to be read
    uint64_t text = 0; // bytes of it
    bool is_thought = false;
};

// How the event at the front of `events` begins, of all that APIs have for events with text (see
// api_row::delta_heads); nullptr: none of these ways.
const std::string_view* delta_head(std::string_view events);

// Reads the event at the front, if it begins with `head`.
plain_delta read_plain_delta(std::string_view events, std::string_view head);

} // namespace llm
