// Passes over events of a stream that cannot say anything about usage, errors or the stream's end, faster
// than reading them: what it passes over, usage_reader would read and not change by.
#pragma once

#include "reply_piece.h"
#include "text_place.h"

#include <cstddef>
#include <span>
#include <string_view>

namespace llm {

// One past the last empty line of `piece` that a pair of line feeds makes; its begin where there is none.
const char* last_event_end(std::string_view piece);

// `events` begins and ends at borders of events. Returns how many bytes from its front are whole events
// without a name "timings", "usage" or "error" (unless null; with `null_tells` of usage also then) at any
// depth and in any spelling, without a field line `error`, an event named so or [DONE], and without CR; and
// whose text stands at its place while no choice ends. That text is added to `text`.
size_t skippable_events(std::string_view events, bool null_tells, const text_place& place, text_size& text);

// How many pieces from the front are one such event each.
size_t skippable_pieces(std::span<const reply_piece> pieces, bool null_tells, const text_place& place,
                        text_size& text);

// Internal: all of this in the way of each kind of processor.
struct event_skip_way {
    const char* name;
    size_t (*skippable_events)(std::string_view events, bool null_tells, const text_place& place,
                               text_size& text);
    size_t (*skippable_pieces)(std::span<const reply_piece> pieces, bool null_tells, const text_place& place,
                               text_size& text);
};
// Those that this processor can go, the fastest first.
std::span<const event_skip_way> event_skip_ways();

} // namespace llm
