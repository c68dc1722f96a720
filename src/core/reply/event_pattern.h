// Chunks of a stream that differ from one that was read only in text and numbers whose places are known: they
// are compared instead of read. What the comparison takes, the scanner would read to the same end.
#pragma once

#include "reply_piece.h"
#include "text_pattern.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// What a chunk with `choices` and `usage` says.
struct chunk_facts {
    usage_fields usage;
    uint32_t choices = 0;
    uint32_t choice_index = 0;
    bool has_content = false;
};

// The pattern of one event at a time. It belongs to no stream: streams of one server look alike, and with
// many of them the pattern is in the cache when their events are not. No text that the model or the user
// wrote is kept in it; of what the events of one stream have in common, the last that was seen.
class event_pattern {
public:
    struct found {
        size_t size = 0;        // of the event, its empty line included
        size_t erase_begin = 0; // the member `usage` with the comma before it, from the event's begin
        size_t erase_end = 0;
        const chunk_facts* facts = nullptr; // but for its usage
        bool has_usage = false;             // it is not null
        usage_fields usage = {};
    };

    static constexpr size_t max_size = text_pattern::max_size;

    // Whether the event at the front of `piece` is like the pattern; `event` is valid only then.
    bool match(std::string_view piece, found& event);
    // How many pieces from the front are one event each that differs from the last one in a single text, and
    // whose `usage` is null. Notes the member `usage` of each as to be erased. Much faster than match().
    size_t match_nulls(std::span<reply_piece> pieces) const;
    // What all of those say.
    const chunk_facts& facts() const { return patterns_[current_].facts; }

    // Notes the event at the front of `piece`, which is going to be read: reading may change its bytes. False
    // if it does not lie whole in the piece, or no pattern can be made of it. If true, learn() or forget() is
    // to follow at the event's end, since what is noted is all of its text.
    bool draft(std::string_view piece);
    // The event that was noted is valid JSON and says this. Makes it the pattern, if it has the usual form
    // and no strings but those that are known.
    void learn(const chunk_facts& facts);
    // The event that was noted is not to be learned from.
    void forget() { patterns_[1 - current_].wipe(); }

private:
    struct pattern : text_pattern {
        uint16_t erase_begin = 0;
        uint16_t erase_end = 0;
        uint16_t fields = 0; // of usage, a bit each
        bool usage_is_null = false;
        uint8_t slots_before_erase = 0;
        uint8_t slots_before_erase_end = 0;
        uint8_t varying = 0; // where usage is null, the only slot that does not last; or else `slots`
        chunk_facts facts;

        bool find_slots();
        void find_varying();
        void see(std::string_view event);
        bool add_count(usage_field field, size_t value);
        bool add_number(usage_field field, size_t value);
    };

    pattern patterns_[2];
    uint8_t current_ = 0; // the other one is the draft
};

} // namespace llm
