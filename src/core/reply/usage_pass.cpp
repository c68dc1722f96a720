// Events that usage_reader need not read: it passes over those that say nothing, and of others it reads the
// usage alone.

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
    auto rest = pieces;
    while (!rest.empty()) {
        if (!usage_runs_) {
            text_size text;
            const size_t n = skippable_pieces(rest, null_tells_, place_, text);
            pass_skippable(size_of(rest.first(n)), text);
            rest = rest.subspan(n);
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

// Events of which nothing is to be read, if there are any.
void usage_reader::pass_skippable(size_t bytes, const text_size& text)
{
    told_in_a_row_ = bytes != 0 ? 0 : told_in_a_row_;
    stream_.skip(bytes);
    uncounted_.add(text);
}

// At a border of events: takes those at the front of the piece that need not be read whole. Returns their
// bytes.
size_t usage_reader::pass_events(std::string_view piece, const erase_sink& erase)
{
    if (tries_off_ != 0) {
        --tries_off_;
        return 0;
    }
    size_t skipped = 0;
    if (!usage_runs_) {
        text_size text;
        skipped = skippable_events(piece, null_tells_, place_, text);
        pass_skippable(skipped, text);
        piece.remove_prefix(skipped);
    }
    const event_usage event = read_event(piece, place_);
    if (event.size != 0) {
        if (null_tells_ && event.is != event_usage::kind::none) {
            const uint64_t begin = stream_.offset();
            erase(begin + event.erase_begin, begin + event.erase_end);
        }
        count_read(event);
    } else if (skipped == 0 && !place_.has_name() && ++told_in_a_row_ == tries_in_vain) {
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
    usage_runs_ = tells || (null_tells_ && event.is == event_usage::kind::null);
    if (tells) {
        forget_timings();
        sum_.of_choice(event.choice_index, event.counts);
    }
    note_text(event.counts.completion != 0, {event.text, 1});
    stream_.skip(event.size);
}

} // namespace llm
