#include "usage_strip.h"

namespace llm {

void usage_strip::start(strip_what what)
{
    *this = usage_strip();
    what_ = what;
}

void usage_strip::erase(uint64_t begin, uint64_t end, const erase_sink& sink)
{
    if (!decided_ && is_waiting_) {
        keep_event(sink);
    }
    if (decided_) {
        sink(begin, end);
    } else {
        is_waiting_ = true;
        erase_ = {begin, end};
    }
}

void usage_strip::keep_event(const erase_sink& sink)
{
    decided_ = true;
    if (is_waiting_) {
        sink(erase_.begin, erase_.end);
        is_waiting_ = false;
    }
}

void usage_strip::on_usage(const json_event& event, std::string_view next, const erase_sink& sink)
{
    const bool opens = event.is == json_event::what::open;
    has_usage_ = has_usage_ || opens;
    if (what_ == strip_what::last && has_choice_) {
        return;
    }
    if (opens || !in_usage_) {
        wants_comma_ = event.index == bare_index_;
        erase_from_ = wants_comma_ ? event.key_begin : event.comma;
    }
    in_usage_ = opens;
    if (opens) {
        return;
    }
    erase(erase_from_, event.value_end, sink);
    if (wants_comma_) {
        find_comma(next, event.value_end, sink);
    }
}

void usage_strip::find_comma(std::string_view bytes, uint64_t offset, const erase_sink& sink)
{
    const size_t at = bytes.find_first_not_of(" \t\r\n");
    if (at == std::string_view::npos) {
        return;
    }
    wants_comma_ = false;
    if (bytes[at] != ',') {
        return;
    }
    const uint64_t comma = offset + at;
    ++bare_index_;
    if (is_waiting_) {
        erase_.end = comma + 1; // white space between them goes as well
    } else {
        erase(comma, comma + 1, sink);
    }
}

void usage_strip::on_choice(const erase_sink& sink)
{
    has_choice_ = true;
    if (decided_ || what_ == strip_what::running) {
        return;
    }
    is_waiting_ = is_waiting_ && what_ == strip_what::all;
    keep_event(sink);
}

void usage_strip::on_data(std::string_view bytes, uint64_t offset, const erase_sink& sink)
{
    if (wants_comma_ && !in_usage_) {
        find_comma(bytes, offset, sink);
    }
}

bool usage_strip::on_end(bool valid, uint64_t begin, uint64_t end, const erase_sink& sink)
{
    const bool was_asked_for = what_ == strip_what::running && (has_choice_ ? ends_choice_ : has_usage_);
    const bool goes =
        valid && !decided_ && what_ != strip_what::running && !has_choice_ && has_usage_ && !has_more_;
    if (goes) {
        sink(begin, end);
    } else if (valid && !decided_ && !was_asked_for && (has_usage_ || what_ != strip_what::last)) {
        keep_event(sink);
    }
    start(what_);
    return goes;
}

uint64_t usage_strip::settle(uint64_t begin, uint64_t end, uint64_t unsaid, const erase_sink& sink)
{
    if (!decided_) {
        if (end - begin <= max_held) {
            return begin;
        }
        keep_event(sink);
    }
    if (what_ == strip_what::last && has_choice_) {
        return end;
    }
    if (in_usage_) {
        // It is erased when it is whole, so that what turns out to be no JSON stays as it is.
        if (end - erase_from_ <= max_held) {
            return erase_from_;
        }
        sink(erase_from_, end);
        erase_from_ = end;
        return end;
    }
    return unsaid < end && end - unsaid <= max_held ? unsaid : end;
}

} // namespace llm
