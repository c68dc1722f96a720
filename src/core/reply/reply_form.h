// The forms in which replies come.
#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// One JSON text; server-sent events; JSON texts of a line each; what the first bytes will tell.
enum class reply_form : uint8_t { none, json, sse, lines, unknown };

// The form by the reply's Content-Type (parameters and case ignored): application/json, text/event-stream,
// application/x-ndjson; `none` of sound, pictures and films, which are not looked at; else `unknown`. It is
// no more than what the sender says: where the first bytes contradict it, they are right.
reply_form reply_form_of(std::string_view content_type);

// The form by a reply's first bytes, which may come in any pieces. All zero bytes are a valid initial state.
class reply_begin {
public:
    // Takes the next byte. What the reply is as far as is known now: `unknown`, where only blanks and a byte
    // order mark have come; `sse`, as long as it may be; `json`, where a JSON object or array begins; `none`.
    reply_form take(char c);
    // More than blanks has come.
    bool begun() const { return decided_ || size_ != 0; }
    // No more bytes change it.
    bool decided() const { return decided_; }

private:
    uint8_t mark_ = 0; // bytes of a byte order mark
    uint8_t size_ = 0; // of the first field's name, so far
    bool decided_ = false;
    char name_[5] = {};
};

} // namespace llm
