#include "usage.h"

#include "plain_reply.h"
#include "usage_call.h"

#include <algorithm>
#include <bit>

namespace llm {

usage_reader::usage_reader(reply_form form, uint32_t prompts, strip_what strip)
    : form_(form), prompts_(prompts > 1 ? prompts : 1), asked_choices_(prompts_)
{
    if (form != reply_form::none && form != reply_form::lines) {
        strip_.start(strip);
        null_tells_ = strip_.takes_running();
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
        call in{*this, reply_paths.marks.data(), {}, scanner_.offset(), erase};
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
    if (json_read_) {
        const size_t more = piece.find_first_not_of(" \t\r\n");
        if (more != std::string_view::npos) {
            behind_json(piece.substr(more));
        }
        return;
    }
    const bool may_be_whole =
        is_first && !piece.empty() && piece.front() == '{' && (piece.back() == '}' || piece.back() == '\n');
    if (may_be_whole && read_whole(piece)) {
        json_read_ = true;
        return;
    }

    call in{*this, reply_paths.marks.data(), piece, scanner_.offset(), erase};
    const size_t size = scanner_.feed(piece, reply_paths.paths.data(), in.sink());
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
    json_read_ = false;
    at_line_ = true;
    stream_ = {};
    stream_.pass(settled_ - piece.size());
    clear_event();
    feed_lines(piece);
}

// The JSON reply that this piece is, if its usage can be read alone.
bool usage_reader::read_whole(std::string_view piece)
{
    usage_fields usage;
    // Where no completion is told, the text is to be measured.
    if (!read_plain_reply(piece, usage) || usage.counts().completion == 0) {
        return false;
    }
    generated_ = true;
    sum_.last_word(usage.counts());
    return true;
}

} // namespace llm
