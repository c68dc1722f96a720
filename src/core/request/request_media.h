// What in a request's body is no text: images, audio, files. Its bytes say little of the tokens that a server
// makes of it.
#pragma once

#include "core/json/json_scan.h"
#include "request_paths.h"

#include <cstdint>

namespace llm {

// Only what no server can read as text counts: what the member that it is in, its media type and its first
// bytes say together. All zero bytes are a valid initial state.
class request_media {
public:
    // Of each event at a path whose part is request_part::url or one of those after it.
    void take(const json_event& event, request_part part);

    uint32_t count() const { return count_; }
    uint64_t bytes() const { return bytes_; } // of the body

private:
    void add(uint64_t bytes);
    void close_carrier();

    uint64_t bytes_ = 0;
    uint64_t carried_ = 0; // bytes of a carrier's data in base64
    uint32_t count_ = 0;
    bool has_data_ = false; // of the carrier
    bool has_type_ = false;
    bool is_text_ =
        false; // its data, by its media type or its encoding; or none knows, as one of them is there twice
};

} // namespace llm
