// Errors as each API writes them.
#pragma once

#include "api.h"
#include "refusal.h"

namespace llm {

struct error_text {
    const refusal_answer& answer;
    // Stands for the "%" of the answer's message; any bytes may be in it.
    std::string_view detail;
    // Of Anthropic's bodies; empty = null.
    std::string_view request_id;
};

// Bytes that the functions below may need.
size_t error_text_bytes(const error_text& error);

// Writes the body of an error, JSON that ends with a line feed, and returns its length.
size_t write_error_body(api as, const error_text& error, char* out);

// Writes what ends a stream that has begun with status 200: an event that clients raise as an error, or, in a
// stream of JSON lines, such a line. The stream must be between two events. Returns its length.
enum class stream_form : uint8_t { events, json_lines };
size_t write_error_event(api as, stream_form form, const error_text& error, char* out);

// error.type of Anthropic's API for a status.
std::string_view anthropic_type(unsigned status);

} // namespace llm
