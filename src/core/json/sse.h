// Takes a stream of server-sent events apart as it arrives in any pieces, without holding a line or an event.
// Format: WHATWG HTML, "Server-sent events", with the tolerance of the OpenAI and Anthropic SDKs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

struct sse_item {
    enum class what : uint8_t {
        none,  // the piece is used up
        data,  // the next bytes of the event's data; never empty, a line may come in several
        error, // a field named `error` instead of `data`: old llama.cpp's form of an error event
        end,   // the event is whole; only where it had data
    } is;
    std::string_view bytes; // of data; points into the piece, or at the line feed that joins two data lines
};

// All zero bytes are a valid initial state.
class sse_reader {
public:
    static constexpr size_t max_event = 16;

    // Takes bytes from the front of `piece` up to the end of the next item. Returns `none` only with `piece`
    // empty.
    sse_item next(std::string_view& piece);
    // The stream ends here: to be called until it returns `none`. A last event without its empty line counts
    // as whole.
    sse_item finish();

    // Whether the next byte begins an event, and it does not belong to the line end before it.
    bool at_border() const { return step_ == step::line && !after_cr_ && (ended_ || !in_event()); }
    // Whether the line feed that may come next belongs to the line end before it.
    bool after_cr() const { return after_cr_; }
    // A line of the event has come, whole or its beginning: its data, its name or its id.
    bool in_event() const { return has_data_ || has_id_ || event_size_ != 0; }
    // Takes this many bytes as read, of an event that is read elsewhere.
    void pass(size_t bytes) { offset_ += bytes; }
    // At a border: takes this many bytes as read that are known to be whole events.
    void skip(size_t bytes)
    {
        offset_ += bytes;
        event_begin_ = offset_;
    }
    // Where the event begins that is being read, or whose end was returned last. Comments before it, `retry`,
    // and empty lines, are not part of it.
    uint64_t event_begin() const { return event_begin_; }
    // The same while more of it is to come; offset() between events and within comments.
    uint64_t open_event_begin() const
    {
        return ended_ || (step_ == step::other && !in_event()) ? offset_ : event_begin_;
    }

    // The value of the event's `event` field, as far as it is read, until the event's end was returned and
    // next() is called again. Empty where there is none or it is longer than max_event.
    std::string_view event() const;
    // Bytes taken so far.
    uint64_t offset() const { return offset_; }

private:
    enum class step : uint8_t { start, line, name, data_gap, data, event_gap, event, other };

    void take(std::string_view& piece, size_t bytes);
    sse_item begin_field(std::string_view name, bool has_value);
    sse_item begin_data(step next);
    void clear_event();

    uint64_t offset_ = 0;
    uint64_t event_begin_ = 0;
    step step_ = step::start;
    uint8_t mark_ = 0;       // bytes of a byte order mark seen at the start
    uint8_t name_size_ = 0;  // of the field's name; max_name + 1: too long
    uint8_t event_size_ = 0; // of the event field's value; max_event + 1: too long
    bool after_cr_ = false;  // a line feed now belongs to the line end before it
    bool has_data_ = false;
    bool has_id_ = false;
    bool ended_ = false; // the event's end was returned
    static constexpr size_t max_name = 5;
    char name_[max_name] = {};
    char event_[max_event] = {};
};

} // namespace llm
