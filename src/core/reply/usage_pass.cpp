// Events that usage_reader need not read: it passes over those that say nothing, and of others it reads the
// usage alone.

#include "event_skip.h"
#include "plain_delta.h"
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
    if (!may_skip()) {
        return pass_deltas(pieces);
    }
    auto rest = pieces;
    while (!rest.empty()) {
        if (!counts_run_) {
            text_size text;
            const size_t n = skippable_pieces(rest, null_tells_, place_, text);
            if (n != 0) {
                pass_skippable(size_of(rest.first(n)), text);
                rest = rest.subspan(n);
            }
            if (rest.empty()) {
                break;
            }
        }
        const event_usage event = read_event(rest[0].bytes(), place_);
        if (event.size == 0 || event.size != rest[0].size) {
            break;
        }
        if (null_tells_ && event.is != event_usage::kind::none) {
            rest[0].erase_begin = event.erase_begin;
            rest[0].erase_end = event.erase_end;
        }
        count_read(event);
        rest = rest.subspan(1);
    }
    const size_t n = pieces.size() - rest.size();
    settled_ = n != 0 ? stream_.offset() : settled_;
    return n;
}

// The same of a stream with named events.
size_t usage_reader::pass_deltas(std::span<const reply_piece> pieces)
{
    size_t n = 0;
    for (const reply_piece& piece : pieces) {
        const plain_delta event = read_plain_delta(piece.bytes(), *delta_head_);
        if (event.size == 0 || event.size != piece.size) {
            break;
        }
        count_delta(event);
        ++n;
    }
    settled_ = n != 0 ? stream_.offset() : settled_;
    return n;
}

// At a border of events: takes the one at the front of the piece if it brings text only. Returns its size, or
// 0: then it is to be read, and the next one may be like it.
size_t usage_reader::pass_delta(std::string_view piece)
{
    if (delta_head_ != nullptr) {
        const plain_delta event = read_plain_delta(piece, *delta_head_);
        if (event.size != 0) {
            count_delta(event);
            return event.size;
        }
    }
    const std::string_view* const head = delta_head(piece);
    delta_head_ = head != nullptr ? head : delta_head_;
    return 0;
}

void usage_reader::count_delta(const plain_delta& event)
{
    const bool has_text = event.text != 0;
    content_seen_ = content_seen_ || has_text;
    reasoning_seen_ = reasoning_seen_ || (event.is_thought && has_text);
    note_text(false, {event.text, has_text});
    stream_.skip(event.size);
}

// Events of which nothing is to be read.
void usage_reader::pass_skippable(size_t bytes, const text_size& text)
{
    told_in_a_row_ = 0;
    stream_.skip(bytes);
    uncounted_.add(text);
}

// At a border of events: how many bytes of whole events need not be read. `last` is where the last whole
// event of the piece ends, once that is known.
size_t usage_reader::pass_over(std::string_view piece, const char*& last)
{
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
    }
    return skippable;
}

// At a border of events: takes those at the front of the piece that need not be read whole. Returns their
// bytes.
size_t usage_reader::pass_events(std::string_view piece, const char*& last, const erase_sink& erase)
{
    if (tries_off_ != 0) {
        --tries_off_;
        return 0;
    }
    const size_t skipped = usage_runs_ ? 0 : pass_over(piece, last);
    piece.remove_prefix(skipped);
    const event_usage event = read_event(piece, place_);
    if (event.size != 0) {
        if (null_tells_ && event.is != event_usage::kind::none) {
            const uint64_t begin = stream_.offset();
            erase(begin + event.erase_begin, begin + event.erase_end);
        }
        count_read(event);
    } else if (skipped == 0 && ++told_in_a_row_ == tries_in_vain) {
        told_in_a_row_ = 0;
        tries_off_ = events_without_try;
    }
    return skipped + event.size;
}

// An event of which the usage was read, and how much text it shows.
void usage_reader::count_read(const event_usage& event)
{
    const bool tells = event.is == event_usage::kind::counts;
    told_in_a_row_ = 0;
    counts_run_ = tells;
    usage_runs_ = tells || (null_tells_ && event.is == event_usage::kind::null);
    if (tells) {
        forget_timings();
        sum_.of_choice(event.choice_index, event.counts);
    }
    note_text(event.counts.completion != 0, {event.text, 1});
    stream_.skip(event.size);
}

} // namespace llm
