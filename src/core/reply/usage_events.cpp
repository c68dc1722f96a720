// The events and lines of a stream that usage_reader reads: their data, their ends, and what they count.

#include "core/json/json_bytes.h"
#include "usage_call.h"

#include <algorithm>
#include <utility>

namespace llm {

namespace {

constexpr std::string_view done_mark = "[DONE]";
constexpr uint8_t not_done = 0xff;

} // namespace

void usage_reader::feed_events(std::string_view piece, const erase_sink& erase)
{
    while (!piece.empty()) {
        if (lf_goes_too_) {
            lf_goes_too_ = false;
            if (piece.front() == '\n') {
                erase(stream_.offset(), stream_.offset() + 1);
            }
        }
        if (stream_.at_border()) {
            const size_t passed = may_skip() ? pass_events(piece, erase) : 0;
            piece.remove_prefix(passed);
            if (passed != 0) {
                continue;
            }
        }
        sse_item item;
        do {
            item = stream_.next(piece);
            on_item(item, erase);
        } while (item.is != sse_item::what::end && item.is != sse_item::what::none);
    }
    settle(erase);
}

void usage_reader::feed_lines(std::string_view piece)
{
    while (!piece.empty()) {
        const char* const end = find_line_end(piece.data(), piece.data() + piece.size());
        const std::string_view line = piece.substr(0, static_cast<size_t>(end - piece.data()));
        if (!line.empty()) {
            at_line_ = false;
            on_data(line, {});
            stream_.pass(line.size());
            piece.remove_prefix(line.size());
        }
        if (!piece.empty()) {
            on_event_end({});
            stream_.skip(1);
            piece.remove_prefix(1);
            at_line_ = true;
        }
    }
    settle({});
}

void usage_reader::on_item(const sse_item& item, const erase_sink& erase)
{
    switch (item.is) {
    case sse_item::what::none:
        break;
    case sse_item::what::data:
        on_data(item.bytes, erase);
        break;
    case sse_item::what::error:
        error_seen_ = true;
        break;
    case sse_item::what::end:
        error_seen_ = error_seen_ || stream_.event() == "error";
        on_event_end(erase);
        break;
    }
}

void usage_reader::on_data(std::string_view bytes, const erase_sink& erase)
{
    if (scanner_.state() == json_scanner::status::complete && form_ == reply_form::sse) {
        if (bytes == "\n") {
            line_joined_ = true;
            line_end_ = scanner_.offset();
            return;
        }
        if (std::exchange(line_joined_, false) && !event_.bad) {
            next_text(erase);
        }
    }
    for (size_t i = 0; i < bytes.size() && event_.done_at < done_mark.size(); ++i) {
        event_.done_at =
            bytes[i] == done_mark[event_.done_at] ? static_cast<uint8_t>(event_.done_at + 1) : not_done;
    }

    // The reader of events has taken these bytes already; lines are taken afterwards.
    const uint64_t offset = stream_.offset() - (form_ == reply_form::sse ? bytes.size() : 0);
    if (strip_.active()) {
        strip_.on_data(bytes, offset, erase);
    }
    call in{*this, event_paths.marks.data(), bytes, offset, erase};
    scanner_.seek(offset);
    if (scanner_.feed(bytes, event_paths.paths.data(), in.sink()) != bytes.size()) {
        event_.bad = true;
    }
}

// Servers that send one line feed behind each event make one event of all: each line that is a whole text is
// read as an event of its own.
void usage_reader::next_text(const erase_sink& erase)
{
    count_event();
    place_ = {};
    const uint64_t begin = text_begin_ != 0 ? text_begin_ : stream_.event_begin();
    const uint64_t end = line_end_;
    if (strip_.active()) {
        strip_.on_end(true, begin, end, erase);
    }
    clear_event();
    text_begin_ = end;
}

void usage_reader::on_event_end(const erase_sink& erase)
{
    call in{*this, event_paths.marks.data(), {}, stream_.offset(), erase};
    const bool whole =
        scanner_.finish(event_paths.paths.data(), in.sink()) == json_scanner::status::complete && !event_.bad;
    const uint64_t end_of_text = scanner_.offset();
    const bool is_done = event_.done_at == done_mark.size();
    if (is_done) {
        done_seen_ = true;
    } else if (whole) {
        count_event();
    }
    if (strip_.active()) {
        if (text_begin_ != 0) {
            strip_.on_end(whole, text_begin_, end_of_text, erase);
        } else {
            lf_goes_too_ =
                strip_.on_end(whole, stream_.event_begin(), stream_.offset(), erase) && stream_.after_cr();
        }
    }
    if (std::exchange(text_begin_, 0) != 0) {
        place_ = {};
    }
    line_joined_ = false;
    clear_event();
}

void usage_reader::count_event()
{
    // Those like it are passed over by their names, whatever else they have.
    if (event_.delta != 0) {
        event_.ended_choices = 0;
        event_.has_choices = false;
        event_.has_native = false;
        event_.ends = false;
    }
    error_seen_ = error_seen_ || event_.error;
    ended_choices_ |= event_.ended_choices;
    typed_ = typed_ || event_.has_choices;
    if (!chunks_) {
        error_seen_ = error_seen_ || event_.status == response_status::failed;
        incomplete_seen_ = incomplete_seen_ || event_.status == response_status::incomplete;
        typed_ = typed_ || event_.is_typed;
        told_at_start_ = told_at_start_ || event_.starts;
        ended_ = ended_ || event_.stops;
        if (event_.ends) {
            if (event_.has_top_index && !event_.native_is_whole) {
                ended_choices_ |= choice_bit(top_index_);
            } else {
                ended_ = true;
            }
        }
    }

    usage_counts counts = event_.usage;
    const usage_counts timings = told_by_timings();
    if (counts.any()) {
        forget_timings();
        if (event_.usage_is_choices) {
            sum_.of_choice(usage_index_, counts);
        } else if (!event_.has_choices) {
            sum_.of_whole(reading_, event_.is_last);
        } else if (event_.choices > 1) {
            sum_.of_whole(usage_fields(counts), false);
        } else if (event_.choices == 1) {
            sum_.of_choice(choice_index_, counts);
        } else {
            sum_.last_word(counts, asked_choices_);
        }
    } else if (event_.has_native && !chunks_ && (counts = reading_.counts()).any()) {
        forget_timings();
        if (event_.has_top_index && !event_.native_is_whole) {
            sum_.of_choice(top_index_, counts);
        } else {
            sum_.of_whole(reading_, event_.ends);
        }
    } else if (timings.any() && (by_timings_ || !sum_.known())) {
        by_timings_ = true;
        counts = timings;
        sum_.of_choice(event_.has_choices && event_.choices != 0 ? choice_index_ : 0, timings);
    }
    // A usage without a completion says nothing of the text.
    const bool counted = counts.completion != 0;
    if (event_.text == 0) {
        event_.text = event_.other_text;
    }
    if (counted || !event_.error) {
        note_text(counted, {event_.repeats ? 0 : event_.text, event_.text != 0 && !event_.repeats});
    }
    chunks_ = chunks_ || (event_.content && event_.has_choices);
    if (event_.has_text && place_.known()) {
        const uint64_t begin = stream_.event_begin();
        const uint64_t end = stream_.offset();
        place_.set_event(end - begin, end - text_end_, event_.null_finish, event_.delta);
    }
}

// What timings have said until now counts no more.
void usage_reader::forget_timings()
{
    if (by_timings_) {
        sum_ = {};
        by_timings_ = false;
    }
}

// Events with this text have passed. `counted`: their usage counts it, and all before it.
void usage_reader::note_text(bool counted, const text_size& text)
{
    uncounted_.add(text);
    if (counted) {
        counted_.add(uncounted_);
        uncounted_ = {};
    }
}

void usage_reader::settle(const erase_sink& erase)
{
    settled_ = stream_.offset();
    if (!strip_.active() && !holds_) {
        return;
    }
    const uint64_t begin = event_begin();
    if (begin == settled_) {
        return;
    }
    if (holds_ && settled_ - begin <= usage_strip::max_held) {
        settled_ = begin;
    } else if (strip_.active()) {
        settled_ = strip_.settle(begin, settled_, scanner_.unsaid(event_usage_path, event_paths.paths.data()),
                                 erase);
        // What follows a whole text may belong to another one in the same event, and go with that.
        if (scanner_.state() == json_scanner::status::complete) {
            settled_ = std::min(settled_, line_joined_ ? line_end_ : scanner_.offset());
        }
    }
}

void usage_reader::clear_event()
{
    scanner_.start(stream_.offset());
    event_ = {};
}

} // namespace llm
