// The forms in which replies come.
#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// One JSON text; server-sent events; JSON texts of a line each.
enum class reply_form : uint8_t { none, json, sse, lines };

// The form by the reply's Content-Type (parameters and case ignored): application/json, text/event-stream,
// application/x-ndjson.
reply_form reply_form_of(std::string_view content_type);

} // namespace llm
