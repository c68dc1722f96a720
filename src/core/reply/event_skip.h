// Passes over events of a stream that cannot say anything about usage, errors or the stream's end, faster
// than reading them: what it passes over, usage_reader would read and not change by, but for what text_place
// says.
#pragma once

#include "event_usage.h"
#include "reply_piece.h"
#include "text_place.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// The ways of each kind of processor. What follows does the same in all of them.
enum class event_skip_way : uint8_t { avx512, avx2, sse2, bytes };
// Those that this processor can go, the fastest first.
std::span<const event_skip_way> event_skip_ways();
inline const event_skip_way fastest_event_skip = event_skip_ways().front();

// `events` begins at a border of events. Returns how many bytes from its front are whole events without a
// name "timings", "usage" or "error" (unless null; with `null_tells` of usage also then) or "usageMetadata"
// at any depth and in any spelling, without a field line `error`, an event named so or [DONE], and without
// CR; and whose text stands at its place while no choice ends. That text is added to `text`.
size_t skippable_events(std::string_view events, bool null_tells, const text_place& place, text_size& text,
                        event_skip_way way = fastest_event_skip);

// How many pieces from the front are one such event each. With `null_tells`, those that end with a null usage
// are too: that is noted in each, to be erased.
size_t skippable_pieces(std::span<reply_piece> pieces, bool null_tells, const text_place& place,
                        text_size& text, event_skip_way way = fastest_event_skip);

// What the event at the front says, if it is one that the former pass over, whatever its usage, and no event
// with a name; or size 0.
event_usage read_event(std::string_view events, const text_place& place,
                       event_skip_way way = fastest_event_skip);

// The first byte of JSON text that begins one of these names, with `null_tells`; `end`: there is none.
const char* find_telling(const char* begin, const char* end, event_skip_way way = fastest_event_skip);

} // namespace llm
