#include "usage.h"

#include "core/json/json_bytes.h"
#include "event_skip.h"
#include "usage_call.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace llm {

namespace {

constexpr std::string_view done_mark = "[DONE]";
constexpr uint8_t not_done = 0xff;

// Where every event has usage, trying to pass over it is in vain.
constexpr uint8_t tries_in_vain = 2;
constexpr uint8_t events_without_try = 14;

// Where events are not like those before them, no more patterns are made.
constexpr uint8_t max_other_shapes = 8;

size_t size_of(std::span<const reply_piece> pieces)
{
    size_t size = 0;
    for (const reply_piece& piece : pieces) {
        size += piece.size;
    }
    return size;
}

} // namespace

usage_reader::usage_reader(reply_form form, uint32_t prompts, strip_what strip, usage_patterns* patterns)
    : form_(form), prompts_(prompts > 1 ? prompts : 1), asked_choices_(prompts_), patterns_(patterns)
{
    if (form != reply_form::none && form != reply_form::lines) {
        strip_.start(strip);
        null_tells_ = strip_.active();
    }
}

bool usage_reader::at_event_border() const
{
    switch (form_) {
    case reply_form::sse:
        return stream_.at_border();
    case reply_form::lines:
        return at_line_;
    default:
        return false;
    }
}

token_counts usage_reader::counts() const
{
    return sum_.counts(prompts_);
}

bool usage_reader::whole() const
{
    return done_seen_ || ended_
           || (ended_choices_ != 0 && static_cast<uint32_t>(std::popcount(ended_choices_)) >= asked_choices_);
}

bool usage_reader::settled_at_border() const
{
    const bool holds = holds_ && (form_ == reply_form::sse || form_ == reply_form::lines);
    return at_event_border() || (holds && settled_ != stream_.offset() && settled_ == event_begin());
}

void usage_reader::release_events()
{
    holds_ = false;
    const bool decided =
        strip_.decided() && scanner_.state() == json_scanner::status::complete && form_ == reply_form::sse;
    settled_ = strip_.active() && !decided ? settled_ : stream_.offset();
}

// Where the event or line begins of which more is to come.
uint64_t usage_reader::event_begin() const
{
    const uint64_t begin = form_ == reply_form::lines ? stream_.event_begin() : stream_.open_event_begin();
    return std::max(begin, text_begin_);
}

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

void usage_reader::feed(std::string_view piece, const erase_sink& erase)
{
    if (!begun_ && form_ != reply_form::none) {
        piece.remove_prefix(begin(piece));
    }
    feed_form(piece, erase);
}

// The first bytes of a reply show what it is, whatever it is said to be. Returns how many of them are to be
// passed over: a byte order mark and blanks, but in what is said to be a stream of events.
size_t usage_reader::begin(std::string_view piece)
{
    const bool said_events = form_ == reply_form::sse && !first_.begun();
    reply_form shown = reply_form::unknown;
    size_t blanks = 0;
    for (size_t n = 0; n != piece.size() && !first_.decided(); ++n) {
        shown = first_.take(piece[n]);
        blanks += shown == reply_form::unknown ? 1 : 0;
    }
    if (shown == reply_form::unknown) {
        if (!said_events) {
            stream_.pass(piece.size());
            settled_ = stream_.offset();
            return piece.size();
        }
        return 0;
    }
    if (said_events && shown != reply_form::json) {
        begun_ = true;
        return 0;
    }
    // As long as it may be a stream of events it is read as one, which harms nothing.
    begun_ = first_.decided();
    if (shown == reply_form::json) {
        form_ = form_ == reply_form::lines ? form_ : shown;
        strip_.start(strip_what::nothing);
    } else {
        form_ = shown;
    }
    stream_.pass(blanks);
    settled_ = stream_.offset();
    return blanks;
}

void usage_reader::feed_form(std::string_view piece, const erase_sink& erase)
{
    switch (form_) {
    case reply_form::none:
    case reply_form::unknown:
        json_bytes_ += piece.size();
        stream_.pass(piece.size());
        settled_ = stream_.offset();
        break;
    case reply_form::json:
        feed_json(piece, erase);
        break;
    case reply_form::sse:
        feed_events(piece, erase);
        break;
    case reply_form::lines:
        feed_lines(piece);
        break;
    }
}

void usage_reader::finish(const erase_sink& erase)
{
    // What has come is too little to be what it may have become.
    if (!begun_ && first_.begun() && form_ == reply_form::sse) {
        form_ = reply_form::none;
    }
    switch (form_) {
    case reply_form::none:
    case reply_form::unknown:
        break;
    case reply_form::json: {
        call in{*this, reply_paths.parts.data(), {}, scanner_.offset(), erase};
        scanner_.finish(reply_paths.paths.data(), in.sink());
        break;
    }
    case reply_form::sse: {
        sse_item item;
        do {
            item = stream_.finish();
            on_item(item, erase);
        } while (item.is != sse_item::what::none);
        settled_ = stream_.offset();
        break;
    }
    case reply_form::lines:
        on_event_end(erase);
        break;
    }
}

void usage_reader::feed_json(std::string_view piece, const erase_sink& erase)
{
    const bool is_first = !content_seen_ && !piece.empty();
    content_seen_ = content_seen_ || is_first;
    json_bytes_ += piece.size();
    stream_.pass(piece.size());
    settled_ = stream_.offset();
    if (json_over_) {
        return;
    }
    if (same_shape_) {
        const size_t more = piece.find_first_not_of(" \t\r\n");
        if (more != std::string_view::npos) {
            behind_json(piece.substr(more));
        }
        return;
    }
    const bool may_be_whole = is_first && patterns_ != nullptr && piece.front() == '{'
                              && (piece.back() == '}' || piece.back() == '\n');
    if (may_be_whole && read_same_shape(piece)) {
        same_shape_ = true;
        return;
    }

    reply_notes notes;
    call in{*this, reply_paths.parts.data(),       piece, scanner_.offset(),
            erase, may_be_whole ? &notes : nullptr};
    const size_t size = scanner_.feed(piece, reply_paths.paths.data(), in.sink());
    if (may_be_whole && scanner_.state() == json_scanner::status::complete && notes.usages == 1
        && !notes.other && !vectors_ && !error_seen_ && !incomplete_seen_) {
        patterns_->replies.learn(piece.substr(0, size), {notes.counts.data(), notes.size}, generated_);
    }
    if (size != piece.size() && scanner_.state() == json_scanner::status::complete) {
        behind_json(piece.substr(size));
    }
}

// What follows one JSON text is another, or nothing that is read.
void usage_reader::behind_json(std::string_view piece)
{
    if (piece.front() == '{') {
        become_lines(piece);
    } else {
        json_over_ = true;
    }
}

// What was taken for one JSON text is the first of several. `piece`, which has been counted, begins with the
// second.
void usage_reader::become_lines(std::string_view piece)
{
    usage_counts first;
    const token_counts told = counts();
    first.prompt = static_cast<uint32_t>(told.prompt);
    first.cached = static_cast<uint32_t>(told.cached);
    first.cache_write = static_cast<uint32_t>(told.cache_write);
    first.completion = static_cast<uint32_t>(told.completion);
    first.reasoning = static_cast<uint32_t>(told.reasoning);
    sum_ = {};
    if (first.any()) {
        sum_.of_whole(usage_fields(first), false);
    }
    note_text(first.completion != 0, {});
    form_ = reply_form::lines;
    same_shape_ = false;
    at_line_ = true;
    stream_ = {};
    stream_.pass(settled_ - piece.size());
    clear_event();
    feed_lines(piece);
}

// The first piece of a JSON reply, if it is like one that was read.
bool usage_reader::read_same_shape(std::string_view piece)
{
    reply_patterns::found reply;
    // Where no completion is told, the text is to be measured.
    if (!patterns_->replies.match(piece, reply)
        || (reply.generates && reply.usage.counts().completion == 0)) {
        return false;
    }
    generated_ = reply.generates;
    const usage_counts counts = reply.usage.counts();
    if (counts.any()) {
        sum_.last_word(counts);
    }
    return true;
}

void usage_reader::feed_events(std::string_view piece, const erase_sink& erase)
{
    const char* last = nullptr;
    while (!piece.empty()) {
        if (lf_goes_too_) {
            lf_goes_too_ = false;
            if (piece.front() == '\n') {
                erase(stream_.offset(), stream_.offset() + 1);
            }
        }
        if (may_skip() && stream_.at_border()) {
            if (same_shape_) {
                const size_t size = read_same_shape(piece, erase);
                piece.remove_prefix(size);
                if (size != 0) {
                    continue;
                }
            }
            piece.remove_prefix(pass_over(piece, last));
            if (piece.empty()) {
                break;
            }
            drafted_ =
                patterns_ != nullptr && other_shapes_ != max_other_shapes && patterns_->events.draft(piece);
        }
        sse_item item;
        do {
            item = stream_.next(piece);
            on_item(item, erase);
        } while (item.is != sse_item::what::end && item.is != sse_item::what::none);
    }
    settle(erase);
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
        if (!place_.has_all(there, end)) {
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
        event_usage_ = event.usage.counts();
        has_choices_ = true;
        event_choices_ = event.facts->choices;
        choice_index_ = event.facts->choice_index;
        event_text_ = text.bytes;
        count_event();
        event_usage_ = {};
        has_choices_ = false;
        event_choices_ = 0;
        event_text_ = 0;
    } else {
        note_text(false, text);
    }
    stream_.skip(event.size);
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
        if (std::exchange(line_joined_, false) && !event_bad_) {
            next_text(erase);
        }
    }
    for (size_t i = 0; i < bytes.size() && done_at_ < done_mark.size(); ++i) {
        done_at_ = bytes[i] == done_mark[done_at_] ? static_cast<uint8_t>(done_at_ + 1) : not_done;
    }

    // The reader of events has taken these bytes already; lines are taken afterwards.
    const uint64_t offset = stream_.offset() - (form_ == reply_form::sse ? bytes.size() : 0);
    if (strip_.active()) {
        strip_.on_data(bytes, offset, erase);
    }
    call in{*this, event_paths.parts.data(), bytes, offset, erase};
    scanner_.seek(offset);
    if (scanner_.feed(bytes, event_paths.paths.data(), in.sink()) != bytes.size()) {
        event_bad_ = true;
    }
}

// Servers that send one line feed behind each event make one event of all: each line that is a whole text is
// read as an event of its own.
void usage_reader::next_text(const erase_sink& erase)
{
    count_event();
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
    call in{*this, event_paths.parts.data(), {}, stream_.offset(), erase};
    const bool whole =
        scanner_.finish(event_paths.paths.data(), in.sink()) == json_scanner::status::complete && !event_bad_;
    const uint64_t end_of_text = scanner_.offset();
    const bool is_done = done_at_ == done_mark.size();
    if (is_done) {
        done_seen_ = true;
    } else if (whole) {
        count_event();
    }
    if (drafted_ && whole && has_choices_ && !event_finishes_) {
        patterns_->events.learn({reading_, event_choices_, choice_index_, event_content_});
        same_shape_ = true;
    } else if (drafted_) {
        patterns_->events.forget();
    }
    drafted_ = false;
    if (strip_.active()) {
        if (text_begin_ != 0) {
            strip_.on_end(whole, text_begin_, end_of_text, erase);
        } else {
            lf_goes_too_ =
                strip_.on_end(whole, stream_.event_begin(), stream_.offset(), erase) && stream_.after_cr();
        }
    }
    text_begin_ = 0;
    line_joined_ = false;
    clear_event();
}

void usage_reader::count_event()
{
    error_seen_ = error_seen_ || event_error_;
    typed_ = typed_ || has_choices_;
    if (!chunks_) {
        error_seen_ = error_seen_ || event_failed_;
        incomplete_seen_ = incomplete_seen_ || event_incomplete_;
        typed_ = typed_ || event_is_typed_;
        finish_seen_ = finish_seen_ || event_is_last_ || event_stops_ || event_ends_;
        ended_ = ended_ || event_stops_;
        if (event_ends_) {
            if (has_top_index_ && !native_is_whole_) {
                end_choice(top_index_);
            } else {
                ended_ = true;
            }
        }
    }

    usage_counts counts = event_usage_;
    const usage_counts timings = told_by_timings();
    if (counts.any()) {
        forget_timings();
        if (usage_is_choices_) {
            sum_.of_choice(usage_index_, counts);
        } else if (!has_choices_) {
            sum_.of_whole(reading_, event_is_last_);
        } else if (event_choices_ > 1) {
            sum_.of_whole(usage_fields(counts), false);
        } else if (event_choices_ == 1) {
            sum_.of_choice(choice_index_, counts);
        } else {
            sum_.last_word(counts, asked_choices_);
        }
    } else if (has_native_ && !chunks_ && (counts = reading_.counts()).any()) {
        forget_timings();
        if (has_top_index_ && !native_is_whole_) {
            sum_.of_choice(top_index_, counts);
        } else {
            sum_.of_whole(reading_, event_ends_);
        }
    } else if (timings.any() && (by_timings_ || !sum_.known())) {
        by_timings_ = true;
        counts = timings;
        sum_.of_choice(has_choices_ && event_choices_ != 0 ? choice_index_ : 0, timings);
    }
    // A usage without a completion says nothing of the text.
    const bool counted = counts.completion != 0;
    if (event_text_ == 0) {
        event_text_ = other_text_;
    }
    if (counted || !event_error_) {
        note_text(counted, {event_repeats_ ? 0 : event_text_, event_text_ != 0 && !event_repeats_});
    }
    chunks_ = chunks_ || (event_content_ && has_choices_);
    if (event_has_text_ && place_.known()) {
        place_.set_rest(stream_.offset() - text_end_);
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

void usage_reader::end_choice(uint32_t index)
{
    finish_seen_ = true;
    ended_choices_ |= uint64_t{1} << std::min(index, 63u);
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
    has_native_ = false;
    event_usage_ = {};
    event_choices_ = 0;
    usage_is_choices_ = false;
    has_choices_ = false;
    event_error_ = false;
    event_failed_ = false;
    event_incomplete_ = false;
    event_content_ = false;
    event_repeats_ = false;
    event_has_text_ = false;
    event_text_ = 0;
    thought_size_ = 0;
    event_ends_ = false;
    event_is_last_ = false;
    event_is_typed_ = false;
    event_stops_ = false;
    event_finishes_ = false;
    other_text_ = 0;
    event_bad_ = false;
    has_top_index_ = false;
    native_is_whole_ = false;
    timings_ = {};
    done_at_ = 0;
}

} // namespace llm
