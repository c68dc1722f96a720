// Events that usage_reader need not read: it passes over those that say nothing, and compares those that are
// like one that was read.

#include "event_skip.h"
#include "usage.h"

namespace llm {

namespace {

// Where every event has usage, trying to pass over it is in vain.
constexpr uint8_t tries_in_vain = 2;
constexpr uint8_t events_without_try = 14;

size_t size_of(std::span<const reply_piece> pieces)
{
    size_t size = 0;
    for (const reply_piece& piece : pieces) {
        size += piece.size;
    }
    return size;
}

} // namespace

size_t usage_reader::pass(std::span<reply_piece> pieces)
{
    if (!may_pass()) {
        return 0;
    }
    size_t n = 0;
    if (same_shape_) {
        n = pass_same_shape(pieces);
    } else {
        text_size text;
        n = skippable_pieces(pieces, null_tells_, place_, text);
        if (n != 0) {
            pass_skippable(size_of(pieces.first(n)), text);
        }
    }
    settled_ = n != 0 ? stream_.offset() : settled_;
    return n;
}

// Events of which nothing is to be read.
void usage_reader::pass_skippable(size_t bytes, const text_size& text)
{
    told_in_a_row_ = 0;
    same_shape_ = false;
    stream_.skip(bytes);
    uncounted_.add(text);
}

// At a border of events: how many bytes of whole events need not be read. `last` is where the last whole
// event of the piece ends, once that is known.
size_t usage_reader::pass_over(std::string_view piece, const char*& last)
{
    if (tries_off_ != 0) {
        --tries_off_;
        return 0;
    }
    if (last == nullptr) {
        last = last_event_end(piece);
    }
    if (piece.data() >= last) {
        return 0;
    }
    text_size text;
    const size_t skippable = skippable_events(piece.substr(0, static_cast<size_t>(last - piece.data())),
                                              null_tells_, place_, text);
    if (skippable != 0) {
        pass_skippable(skippable, text);
    } else if (++told_in_a_row_ == tries_in_vain) {
        told_in_a_row_ = 0;
        tries_off_ = events_without_try;
    }
    return skippable;
}

// At a border of events: reads the next one if it is like the pattern. Returns its size, or 0.
size_t usage_reader::read_same_shape(std::string_view piece, const erase_sink& erase)
{
    event_pattern::found event;
    text_size text;
    reply_piece like[] = {{piece.data(), 0, 0, 0}};
    if (patterns_->events.match(piece, event)) {
        like[0].size = event.size;
    }
    if (like[0].size == 0 || measure(like, text) == 0) {
        other_shapes_ =
            static_cast<uint8_t>(other_shapes_ < max_other_shapes ? other_shapes_ + 1 : other_shapes_);
        same_shape_ = other_shapes_ < max_other_shapes;
        return 0;
    }
    if (strip_.takes_running()) {
        const uint64_t begin = stream_.offset();
        erase(begin + event.erase_begin, begin + event.erase_end);
    }
    count_same_shape(event, text);
    return event.size;
}

// How many pieces from the front are one event each whose text, if the pattern's events have any, stands
// where it is known to.
size_t usage_reader::measure(std::span<reply_piece> pieces, text_size& text) const
{
    if (!patterns_->events.facts().has_content) {
        return pieces.size();
    }
    size_t n = 0;
    for (const reply_piece& piece : pieces) {
        const char* const end = piece.data + piece.size;
        const text_place::found there = place_.measure(piece.data, end);
        if (!place_.has_all(there, piece.data, end)) {
            break;
        }
        text.add({there.size, 1});
        ++n;
    }
    return n;
}

// Pieces from the front that are one event each like the pattern.
size_t usage_reader::pass_same_shape(std::span<reply_piece> pieces)
{
    event_pattern& events = patterns_->events;
    auto rest = pieces;
    while (!rest.empty()) {
        event_pattern::found event{.facts = &events.facts()};
        text_size text;
        const size_t like = events.match_nulls(rest);
        size_t n = measure(rest.first(like), text);
        for (reply_piece& piece : rest.subspan(n, like - n)) {
            piece.erase_begin = piece.erase_end = 0;
        }
        if (n != 0) {
            event.size = size_of(rest.first(n));
        } else if (events.match(rest[0].bytes(), event) && event.size == rest[0].size
                   && measure(rest.first(1), text) == 1) {
            rest[0].erase_begin = event.erase_begin;
            rest[0].erase_end = event.erase_end;
            n = 1;
        } else {
            break;
        }
        count_same_shape(event, text);
        rest = rest.subspan(n);
    }
    const size_t n = pieces.size() - rest.size();
    if (!strip_.takes_running()) {
        for (reply_piece& piece : pieces.first(n)) {
            piece.erase_begin = piece.erase_end = 0;
        }
    }
    return n;
}

// Events like the pattern: one, or several without usage.
void usage_reader::count_same_shape(const event_pattern::found& event, const text_size& text)
{
    other_shapes_ = 0;
    if (event.has_usage) {
        event_.usage = event.usage.counts();
        event_.has_choices = true;
        event_.choices = event.facts->choices;
        choice_index_ = event.facts->choice_index;
        event_.text = text.bytes;
        count_event();
        event_ = {};
    } else {
        note_text(false, text);
    }
    stream_.skip(event.size);
}

} // namespace llm
