#include "usage.h"

#include "bytes.h"
#include "event_skip.h"
#include "json_count.h"
#include "usage_paths.h"

namespace llm {

namespace {

constexpr std::string_view done_mark = "[DONE]";
constexpr uint8_t not_done = 0xff;
// Above the index of any choice that a server lets be asked for.
constexpr uint64_t max_index = 1u << 20;

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

reply_form reply_form_of(std::string_view content_type)
{
    const auto is = [&](std::string_view name) {
        if (content_type.size() < name.size()) {
            return false;
        }
        for (size_t i = 0; i < name.size(); ++i) {
            if (ascii_lower(content_type[i]) != name[i]) {
                return false;
            }
        }
        return content_type.size() == name.size()
               || content_type.find_first_of("; \t", name.size()) == name.size();
    };

    while (!content_type.empty() && (content_type.front() == ' ' || content_type.front() == '\t')) {
        content_type.remove_prefix(1);
    }
    if (is("text/event-stream")) {
        return reply_form::sse;
    }
    return is("application/json") ? reply_form::json : reply_form::none;
}

void usage_reader::compact_counts::raise(const compact_counts& other)
{
    prompt = prompt > other.prompt ? prompt : other.prompt;
    completion = completion > other.completion ? completion : other.completion;
    cached = cached > other.cached ? cached : other.cached;
    reasoning = reasoning > other.reasoning ? reasoning : other.reasoning;
}

void usage_reader::usage_fields::set(size_t at, const json_event& event)
{
    uint64_t count = 0;
    if (event.type != json_type::number || event.truncated || !json_count(event.text, max_count, count)) {
        return;
    }
    value[at] = static_cast<uint32_t>(count);
    seen = static_cast<uint8_t>(seen | 1u << at);
}

usage_reader::compact_counts usage_reader::usage_fields::counts() const
{
    const auto has = [this](size_t at) { return (seen >> at & 1) != 0; };
    const auto above = [](uint32_t all, uint32_t part) { return all > part ? all - part : 0; };

    const bool has_prompt = has(usage_field::prompt) || has(usage_field::input);
    const bool has_completion = has(usage_field::completion) || has(usage_field::output);
    compact_counts c;
    c.prompt = value[has(usage_field::prompt) ? usage_field::prompt : usage_field::input];
    c.completion = value[has(usage_field::completion) ? usage_field::completion : usage_field::output];
    // Rerank servers may send the total alone: all of it is input.
    if (!has_prompt) {
        c.prompt = above(value[usage_field::total], c.completion);
    } else if (!has_completion) {
        c.completion = above(value[usage_field::total], c.prompt);
    }
    c.cached = value[usage_field::cached] < c.prompt ? value[usage_field::cached] : c.prompt;
    c.reasoning = value[usage_field::reasoning] < c.completion ? value[usage_field::reasoning] : c.completion;
    return c;
}

void usage_reader::start(reply_form form, uint32_t prompts)
{
    *this = usage_reader();
    form_ = form;
    prompts_ = prompts > 1 ? prompts : 1;
}

void usage_reader::feed(std::string_view piece)
{
    if (form_ == reply_form::sse) {
        feed_stream(piece);
    } else if (form_ == reply_form::json) {
        content_seen_ = content_seen_ || !piece.empty();
        scanner_.feed(piece, reply_paths.data(), {take, this});
    }
}

void usage_reader::feed_stream(std::string_view piece)
{
    const char* last = nullptr;
    while (!piece.empty()) {
        if (content_seen_ && stream_.at_border()) {
            if (last == nullptr) {
                last = last_event_end(piece);
            }
            if (piece.data() < last) {
                const size_t quiet = quiet_events(piece.substr(0, static_cast<size_t>(last - piece.data())));
                piece.remove_prefix(quiet);
                stream_.skip(quiet);
                if (piece.empty()) {
                    return;
                }
            }
        }
        for (;;) {
            const sse_item item = stream_.next(piece);
            if (item.is == sse_item::what::data) {
                on_data(item.bytes);
            } else if (item.is == sse_item::what::error) {
                error_seen_ = true;
            } else if (item.is == sse_item::what::end) {
                on_event_end();
            }
            if (item.is == sse_item::what::end || item.is == sse_item::what::none) {
                break;
            }
        }
    }
}

void usage_reader::finish()
{
    if (form_ == reply_form::json) {
        scanner_.finish(reply_paths.data(), {take, this});
    }
    if (form_ != reply_form::sse) {
        return;
    }
    for (;;) {
        const sse_item item = stream_.finish();
        if (item.is == sse_item::what::none) {
            break;
        }
        if (item.is == sse_item::what::data) {
            on_data(item.bytes);
        } else if (item.is == sse_item::what::error) {
            error_seen_ = true;
        } else {
            on_event_end();
        }
    }
}

void usage_reader::on_data(std::string_view bytes)
{
    for (size_t i = 0; i < bytes.size() && done_at_ < done_mark.size(); ++i) {
        done_at_ = bytes[i] == done_mark[done_at_] ? static_cast<uint8_t>(done_at_ + 1) : not_done;
    }

    scanner_.seek(stream_.offset() - bytes.size());
    const size_t taken = scanner_.feed(bytes, event_paths.data(), {take, this});
    if (taken != bytes.size()) {
        event_bad_ = true;
    }
}

void usage_reader::on_event_end()
{
    if (done_at_ == done_mark.size()) {
        done_seen_ = true;
    } else if (scanner_.finish(event_paths.data(), {take, this}) == json_scanner::status::complete
               && !event_bad_) {
        error_seen_ = error_seen_ || event_error_;
        if (event_usage_.any()) {
            if (!has_choices_ || event_choices_ > 1) {
                whole_ = event_usage_;
            } else if (event_choices_ == 1) {
                keep(choice_index_, event_usage_);
            } else {
                keep_last_word(event_usage_);
            }
        } else if (choice_usage_.any()) {
            keep(choice_usage_index_, choice_usage_);
        }
    }
    clear_event();
}

void usage_reader::clear_event()
{
    scanner_.start(stream_.offset());
    event_usage_ = {};
    choice_usage_ = {};
    event_choices_ = 0;
    has_choices_ = false;
    event_error_ = false;
    event_bad_ = false;
    done_at_ = 0;
}

void usage_reader::take(void* self, const json_event& event)
{
    static_cast<usage_reader*>(self)->on(event);
}

void usage_reader::on(const json_event& event)
{
    const bool opens = event.is == json_event::what::open;
    switch (event.path) {
    case usage_path::usage:
        if (opens) {
            reading_ = {};
            break;
        }
        event_usage_ = event.is == json_event::what::close ? reading_.counts() : compact_counts();
        if (form_ == reply_form::json) {
            last_words_ = 0;
            last_word_sum_ = {};
            last_word_most_ = {};
            if (event_usage_.any()) {
                keep_last_word(event_usage_);
            }
        }
        break;
    case usage_path::error:
        if (opens) {
            break;
        }
        event_error_ = truthy(event);
        if (form_ == reply_form::json) {
            error_seen_ = event_error_;
        }
        break;
    case usage_path::choices:
        if (opens) {
            break;
        }
        has_choices_ = event.is == json_event::what::close && event.type == json_type::array;
        event_choices_ = event.index;
        break;
    case usage_path::choice:
    case usage_path::choice_index:
    case usage_path::choice_usage:
        on_choice(event);
        break;
    case usage_path::choice_text:
    case usage_path::delta_content:
    case usage_path::delta_reasoning:
    case usage_path::delta_reasoning_content:
    case usage_path::tool_arguments:
        // A list of parts as content (Mistral) counts from its bracket on; a string from its first character.
        if (opens || (event.type == json_type::string && event.value_end - event.value_begin > 2)) {
            content_seen_ = true;
        }
        break;
    default:
        if (event.is == json_event::what::value && usage_field_of(event.path) != usage_field::none) {
            reading_.set(usage_field_of(event.path), event);
        }
        break;
    }
}

void usage_reader::on_choice(const json_event& event)
{
    const bool opens = event.is == json_event::what::open;
    if (event.path == usage_path::choice_usage) {
        if (opens) {
            reading_ = {};
        } else {
            this_choice_ = event.is == json_event::what::close ? reading_.counts() : compact_counts();
        }
    } else if (event.path == usage_path::choice_index) {
        uint64_t index = 0;
        if (event.type == json_type::number && json_count(event.text, max_index, index)) {
            choice_index_ = static_cast<uint32_t>(index);
        }
    } else if (event.is != json_event::what::close) {
        choice_index_ = event.index;
        this_choice_ = {};
    } else if (this_choice_.any()) {
        choice_usage_ = this_choice_;
        choice_usage_index_ = choice_index_;
    }
}

void usage_reader::keep(uint32_t choice, const compact_counts& counts)
{
    if (choice < max_choices) {
        choice_[choice] = counts;
    } else {
        choice_[max_choices].raise(counts);
    }
    if (choice >= choices_seen_) {
        choices_seen_ = choice + 1;
    }
}

void usage_reader::keep_last_word(const compact_counts& counts)
{
    ++last_words_;
    last_word_sum_.prompt += counts.prompt;
    last_word_sum_.completion += counts.completion;
    last_word_sum_.cached += counts.cached;
    last_word_sum_.reasoning += counts.reasoning;
    last_word_most_.raise(counts);
}

bool usage_reader::known() const
{
    return last_words_ != 0 || choices_seen_ != 0 || whole_.any();
}

bool usage_reader::final() const
{
    return last_words_ != 0 || (done_seen_ && known());
}

token_counts usage_reader::counts() const
{
    token_counts total;
    if (last_words_ != 0) {
        total = last_word_sum_;
        // Choices of one prompt tell the same prompt each.
        if (prompts_ == 1) {
            total.prompt = last_word_most_.prompt;
            total.cached = last_word_most_.cached;
        }
        return total;
    }

    // Choice i is of prompt i / n, where the request's n is known from how many choices there are.
    const uint32_t per_prompt = choices_seen_ == 0 ? 1 : (choices_seen_ - 1) / prompts_ + 1;
    compact_counts prompt;
    for (uint32_t i = 0; i <= max_choices; ++i) {
        total.completion += choice_[i].completion;
        total.reasoning += choice_[i].reasoning;
        if (i % per_prompt == 0) {
            total.prompt += prompt.prompt;
            total.cached += prompt.cached;
            prompt = {};
        }
        prompt.raise(choice_[i]);
    }
    total.prompt += prompt.prompt;
    total.cached += prompt.cached;

    total.prompt = total.prompt > whole_.prompt ? total.prompt : whole_.prompt;
    total.completion = total.completion > whole_.completion ? total.completion : whole_.completion;
    total.cached = total.cached > whole_.cached ? total.cached : whole_.cached;
    total.reasoning = total.reasoning > whole_.reasoning ? total.reasoning : whole_.reasoning;
    return total;
}

} // namespace llm
