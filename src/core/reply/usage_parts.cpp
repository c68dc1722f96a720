// What usage_reader makes of the parts of a reply that the scanner finds.

#include "core/api/api_table.h"
#include "core/json/json_count.h"
#include "usage_call.h"

#include <algorithm>
#include <utility>

namespace llm {

namespace {

// Above the index of any choice that a server lets be asked for.
constexpr uint64_t max_index = 1u << 20;

// What a piece of sound counts as in an estimate: as many bytes as a token has by default. Its base64 has a
// thousand times as many as its tokens.
constexpr uint64_t sound_bytes = 4;

// Bytes of a list or object that may be nothing but brackets.
constexpr uint64_t least_other = 4;

// Whether an event that has this at its top is more than one that tells usage.
bool is_more(const json_event& event, reply_part part)
{
    return event.path != 0 && event_paths.paths[event.path].parent == 0 && part != reply_part::usage
           && part != reply_part::choices && part != reply_part::object && part != reply_part::envelope
           && event.type != json_type::null;
}

// Whether Python or JavaScript takes the value that ends with this event for true.
bool truthy(const json_event& event)
{
    switch (event.type) {
    case json_type::null:
    case json_type::no:
        return false;
    case json_type::yes:
        return true;
    case json_type::number: {
        uint64_t count = 1;
        return !json_count(event.text, 1, count) || count != 0;
    }
    case json_type::string:
        return !event.text.empty();
    default:
        return event.index != 0;
    }
}

} // namespace

void usage_reader::take(void* of, const json_event& event)
{
    const call& in = *static_cast<call*>(of);
    in.self.on(event, in);
}

void usage_reader::on(const json_event& event, const call& in)
{
    const reply_path& part = in.parts[event.path];
    const bool opens = event.is == json_event::what::open;
    const bool is_value = event.is == json_event::what::value;
    if (strip_.active() && is_more(event, part.is)) {
        strip_.on_more();
    }
    switch (part.is) {
    case reply_part::other:
    case reply_part::envelope:
    case reply_part::more:
        break;
    case reply_part::root:
        if (form_ == reply_form::json) {
            on_json_end(event);
        }
        break;
    case reply_part::usage:
        on_usage(event, in);
        break;
    case reply_part::wrapped_usage:
        on_wrapped_usage(event);
        break;
    case reply_part::groq_usage:
        if (opens) {
            reading_ = {};
            event_.has_native = false;
        } else if (event.is == json_event::what::close && !event_.usage.any()) {
            event_.usage = reading_.counts();
        }
        break;
    case reply_part::object:
        if (event.text == "error") {
            event_.error = true;
            error_seen_ = error_seen_ || form_ == reply_form::json;
        }
        break;
    case reply_part::top_index: {
        uint64_t index = 0;
        event_.has_top_index = event.type == json_type::number && json_count(event.text, max_index, index);
        top_index_ = static_cast<uint32_t>(index);
        break;
    }
    case reply_part::finish:
        on_finish(event, in);
        break;
    case reply_part::finish_any:
        if (is_value && event.type == json_type::string && form_ != reply_form::json) {
            event_.ended_choices |= choice_bit(0);
        }
        break;
    case reply_part::item:
        generated_ = true;
        break;
    case reply_part::choice:
        if (event.is != json_event::what::close && event.index == 0 && strip_.active()) {
            strip_.on_choice(in.erase);
        }
        on_choice(event);
        break;
    case reply_part::choice_index:
    case reply_part::choice_usage:
        on_choice(event);
        break;
    case reply_part::choices:
        on_choices(event);
        break;
    case reply_part::usage_field:
        reading_.set(part.field, event);
        break;
    case reply_part::details_field:
        event_.native_is_whole = true;
        [[fallthrough]];
    case reply_part::native_field:
        on_native(part.field, event);
        break;
    case reply_part::timing_field:
        on_timing(part.field, event);
        break;
    case reply_part::content:
        on_content(event, false, in);
        break;
    case reply_part::content_parts:
        on_content(event, true, in);
        break;
    case reply_part::content_list:
        if (is_value) {
            on_content(event, false, in);
        } else if (opens) {
            note_content();
        }
        break;
    case reply_part::content_item:
        if (opens) {
            note_content();
        }
        break;
    case reply_part::content_other:
        on_other_content(event);
        break;
    case reply_part::sound:
        if (text_bytes(event) != 0) {
            note_content();
            event_.other_text += sound_bytes;
        }
        break;
    case reply_part::reasoning:
        on_reasoning(event, in);
        break;
    case reply_part::type:
        on_type(event);
        break;
    case reply_part::status:
        incomplete_seen_ = is_value && event.text == "incomplete";
        pending_ = is_value && (event.text == "queued" || event.text == "in_progress");
        break;
    case reply_part::error:
        if (!opens) {
            event_.error = event_.error || truthy(event);
            error_seen_ = form_ == reply_form::json ? event_.error : error_seen_;
        }
        break;
    case reply_part::end_mark:
        event_.ends = event_.ends || opens || (is_value && event.type == json_type::yes);
        break;
    case reply_part::element:
        on_element(event);
        break;
    case reply_part::generated:
        // What is in a list or an object is found by itself.
        generated_ =
            generated_ || (is_value && event.type == json_type::string)
            || (event.is == json_event::what::close && event.type == json_type::array && event.index != 0);
        if (is_value) {
            on_text(event);
        }
        break;
    case reply_part::text:
        on_text(event);
        break;
    case reply_part::thought:
        reasoning_seen_ = reasoning_seen_ || text_bytes(event) != 0;
        on_text(event);
        break;
    case reply_part::vectors:
        vectors_ = true;
        break;
    }
}

// One of a list of replies, or of a list of vectors.
void usage_reader::on_element(const json_event& event)
{
    if (event.is == json_event::what::value || event.type == json_type::array) {
        vectors_ = true;
        return;
    }
    if (event.is == json_event::what::close && event_.has_native) {
        const usage_counts counts = reading_.counts();
        if (counts.any()) {
            sum_.last_word(counts);
        }
        // Where each is of a prompt of its own, the request may say so in a way that is not known.
        prompts_ = prompts_ == asked_choices_ ? UINT32_MAX : prompts_;
    }
    event_.has_native = false;
}

// Text of a JSON reply.
void usage_reader::on_text(const json_event& event)
{
    const uint64_t bytes = text_bytes(event);
    uncounted_.bytes += bytes;
    generated_ = generated_ || bytes > least_other;
    text_seen_ = text_seen_ || event.type == json_type::string;
}

void usage_reader::on_usage(const json_event& event, const call& in)
{
    if (strip_.active()) {
        const bool ends = event.is != json_event::what::open;
        strip_.on_usage(event, ends ? in.bytes.substr(event.value_end - in.offset) : std::string_view(),
                        in.erase);
    }
    if (event.is == json_event::what::open) {
        reading_ = {};
        event_.has_native = false;
        return;
    }
    event_.usage = event.is == json_event::what::close ? reading_.counts() : usage_counts();
    told_zero_ = told_zero_ || (event.is == json_event::what::close && reading_.tells_zero());
    event_.usage_is_choices = false;
    if (form_ == reply_form::json) {
        sum_.forget_last_words();
        if (event_.usage.any()) {
            sum_.last_word(event_.usage);
        }
    }
}

void usage_reader::on_wrapped_usage(const json_event& event)
{
    if (event.is == json_event::what::open) {
        reading_ = {};
        event_.has_native = false;
    } else {
        event_.usage = event.is == json_event::what::close ? reading_.counts() : usage_counts();
        event_.usage_is_choices = false;
        // A stream in the form of an array: each element tells what there is so far.
        if (form_ == reply_form::json && event_.usage.any()) {
            sum_.of_whole(reading_, false);
        }
    }
}

// Beside a usage object they say nothing.
void usage_reader::on_native(usage_field field, const json_event& event)
{
    if (event_.usage.any()) {
        return;
    }
    if (!event_.has_native) {
        event_.has_native = true;
        reading_ = {};
    }
    reading_.set(field, event);
}

void usage_reader::on_finish(const json_event& event, const call& in)
{
    if (event.is == json_event::what::value && truthy(event)) {
        event_.choice_ends = true; // its index may follow
        strip_.on_finish();
    }
    // Of two in one event neither is looked for in others.
    const bool alone = !std::exchange(event_.has_finish, true);
    const uint64_t end = event.value_end;
    const bool is_usual = alone && event.type == json_type::null && end >= in.offset
                          && text_place::is_null_finish(in.bytes.data() + (end - in.offset), end - in.offset);
    event_.null_finish = is_usual ? static_cast<uint32_t>(end - stream_.event_begin()) : 0;
}

void usage_reader::on_choices(const json_event& event)
{
    if (event.is == json_event::what::open) {
        return;
    }
    event_.has_choices = event.is == json_event::what::close && event.type == json_type::array;
    event_.choices = event.index;
}

void usage_reader::on_choice(const json_event& event)
{
    const bool opens = event.is == json_event::what::open;
    const bool closes = event.is == json_event::what::close;
    switch (event_paths.marks[event.path].is) {
    case reply_part::choice_usage:
        if (opens) {
            reading_ = {};
            event_.has_native = false;
        } else {
            this_choice_ = closes ? reading_.counts() : usage_counts();
        }
        break;
    case reply_part::choice_index: {
        uint64_t index = 0;
        if (event.type == json_type::number && json_count(event.text, max_index, index)) {
            choice_index_ = static_cast<uint32_t>(index);
        }
        break;
    }
    default:
        if (!closes) {
            choice_index_ = event.index;
            this_choice_ = {};
            event_.thought_size = 0;
            event_.choice_ends = false;
            break;
        }
        event_.ended_choices |= event_.choice_ends ? choice_bit(choice_index_) : 0;
        if (this_choice_.any() && (event_.usage_is_choices || !event_.usage.any())) {
            event_.usage = this_choice_;
            event_.usage_is_choices = true;
            usage_index_ = choice_index_;
        }
        break;
    }
}

void usage_reader::on_type(const json_event& event)
{
    const auto deltas = all_deltas();
    const auto delta = std::find(deltas.begin(), deltas.end(), event.text);
    event_.delta = static_cast<uint8_t>(delta != deltas.end() ? delta - deltas.begin() + 1 : 0);
    const bool is_responses = event.text.starts_with("response.");
    event_.repeats = is_responses && !event.text.ends_with(".delta");
    event_.error = event_.error || event.text == "error";
    event_.status = event.text == "response.completed"    ? response_status::completed
                    : event.text == "response.incomplete" ? response_status::incomplete
                    : event.text == "response.failed"     ? response_status::failed
                                                          : response_status::none;
    event_.is_last = event_.status != response_status::none || event.text == "message_delta";
    event_.starts = event.text == "message_start";
    event_.is_typed = event_.starts || is_responses;
    event_.stops = event.text == "message_stop" || event_.status != response_status::none;
}

// The bytes of text that end with this event: a string's, unescaped, or a list's or object's, as sent.
uint64_t usage_reader::text_bytes(const json_event& event)
{
    switch (event.is) {
    case json_event::what::open:
        part_begin_ = event.value_begin;
        return 0;
    case json_event::what::close:
        return event.value_end - part_begin_;
    case json_event::what::value:
        return event.type == json_type::string ? event.string_size() : 0;
    default:
        return 0;
    }
}

void usage_reader::note_content()
{
    content_seen_ = true;
    event_.content = true;
}

// A member of a delta that no API is known to have: a string, or what has more in its brackets than brackets.
void usage_reader::on_other_content(const json_event& event)
{
    const bool is_string = event.is == json_event::what::value && event.type == json_type::string;
    const uint64_t bytes = text_bytes(event);
    if (is_string ? bytes != 0 : bytes > least_other) {
        note_content();
        event_.other_text += bytes;
    }
}

// Text counts once it is not empty. A list of parts as content (Mistral) counts from its bracket on.
void usage_reader::on_content(const json_event& event, bool parts_count, const call& in)
{
    const bool is_value = event.is == json_event::what::value;
    if (!is_value && !parts_count) {
        return;
    }
    const uint64_t bytes = text_bytes(event);
    event_.text += bytes;
    if (event.is == json_event::what::open || bytes != 0) {
        note_content();
    }
    if (bytes == 0) {
        return;
    }
    // Of two texts in one event each would be measured for both.
    const uint64_t begin = event.value_begin + 1;
    const uint64_t end = event.value_end;
    const bool alone = !std::exchange(event_.has_text, true);
    place_ = {};
    if (is_value && alone && begin >= in.offset + text_place::mark_size
        && end < in.offset + in.bytes.size()) {
        place_.set(in.bytes.data() + (begin - in.offset), begin - stream_.event_begin(),
                   in.bytes[end - in.offset]);
        text_end_ = end - 1;
    }
}

// Some servers tell it twice in one event, under its old name and its new one.
void usage_reader::on_reasoning(const json_event& event, const call& in)
{
    const uint64_t before = event_.text;
    on_content(event, true, in);
    const uint64_t size = event_.text - before;
    if (size != 0) {
        reasoning_seen_ = true;
        event_.text = size == event_.thought_size ? before : event_.text;
        event_.thought_size = size;
    }
}

void usage_reader::on_timing(usage_field field, const json_event& event)
{
    usage_fields one;
    one.set(field, event);
    uint32_t& of = field == usage_field::cache_read ? event_.timings.cached
                   : field == usage_field::input    ? event_.timings.prompt
                                                    : event_.timings.completion;
    of = one[field];
}

// The end of a JSON reply: native counts are its own if nothing else was.
void usage_reader::on_json_end(const json_event& event)
{
    if (event.is != json_event::what::close) {
        return;
    }
    const usage_counts counts = event_.has_native ? reading_.counts() : told_by_timings();
    if (!sum_.known() && counts.any()) {
        sum_.last_word(counts);
    }
}

usage_counts usage_reader::told_by_timings() const
{
    usage_counts counts;
    counts.prompt = event_.timings.cached + event_.timings.prompt;
    counts.cached = event_.timings.cached;
    counts.completion = event_.timings.completion;
    return counts;
}

} // namespace llm
