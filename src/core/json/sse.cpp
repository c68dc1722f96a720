#include "sse.h"

#include "json_bytes.h"

#include <cstring>

namespace llm {

namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
constexpr std::string_view line_feed = "\n";
constexpr std::string_view usual_line = "data: ";

bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

} // namespace

std::string_view sse_reader::event() const
{
    return event_size_ > max_event ? std::string_view() : std::string_view(event_, event_size_);
}

sse_item sse_reader::next(std::string_view& piece)
{
    if (ended_) {
        clear_event();
    }

    while (!piece.empty()) {
        const char c = piece.front();
        switch (step_) {
        case step::start:
            if (c == byte_order_mark[mark_]) {
                take(piece, 1);
                if (++mark_ == byte_order_mark.size()) {
                    step_ = step::line;
                }
            } else {
                step_ = mark_ == 0 ? step::line : step::other;
            }
            break;
        case step::line:
            if (!in_event()) {
                event_begin_ = offset_;
            }
            if (after_cr_ && c == '\n') {
                after_cr_ = false;
                take(piece, 1);
                event_begin_ = in_event() ? event_begin_ : offset_;
                break;
            }
            if (is_line_end(c)) {
                after_cr_ = c == '\r';
                take(piece, 1);
                if (has_data_) {
                    ended_ = true;
                    return {sse_item::what::end, {}};
                }
                clear_event();
                break;
            }
            after_cr_ = false;
            if (piece.starts_with(usual_line)) {
                take(piece, usual_line.size());
                const sse_item item = begin_data(step::data);
                if (item.is != sse_item::what::none) {
                    return item;
                }
                break;
            }
            name_size_ = 0;
            step_ = step::name;
            break;
        case step::name:
            if (c == ':' || is_line_end(c)) {
                if (c == ':') {
                    take(piece, 1);
                }
                const size_t size = name_size_ > max_name ? 0 : name_size_;
                const sse_item item = begin_field({name_, size}, c == ':');
                if (item.is != sse_item::what::none) {
                    return item;
                }
                break;
            }
            if (name_size_ < max_name) {
                name_[name_size_] = c;
            }
            if (name_size_ <= max_name) {
                ++name_size_;
            }
            take(piece, 1);
            break;
        case step::data_gap:
        case step::event_gap:
            if (c == ' ') {
                take(piece, 1);
            }
            step_ = step_ == step::data_gap ? step::data : step::event;
            break;
        case step::data:
        case step::event:
        case step::other: {
            const char* const end = find_line_end(piece.data(), piece.data() + piece.size());
            const std::string_view value = piece.substr(0, static_cast<size_t>(end - piece.data()));
            if (value.empty()) {
                after_cr_ = c == '\r';
                take(piece, 1);
                step_ = step::line;
                break;
            }
            take(piece, value.size());
            if (step_ == step::data) {
                return {sse_item::what::data, value};
            }
            if (step_ == step::event) {
                if (event_size_ + value.size() <= max_event) {
                    std::memcpy(event_ + event_size_, value.data(), value.size());
                    event_size_ = static_cast<uint8_t>(event_size_ + value.size());
                } else {
                    event_size_ = max_event + 1;
                }
            }
            break;
        }
        }
    }
    return {sse_item::what::none, {}};
}

sse_item sse_reader::finish()
{
    if (ended_) {
        clear_event();
    }

    const step at = step_;
    step_ = step::line;
    after_cr_ = false;
    if (at == step::name) {
        const sse_item item = begin_field({name_, name_size_ > max_name ? 0u : name_size_}, false);
        step_ = step::line;
        if (item.is != sse_item::what::none) {
            return item;
        }
    }
    if (has_data_) {
        ended_ = true;
        return {sse_item::what::end, {}};
    }
    clear_event();
    return {sse_item::what::none, {}};
}

void sse_reader::take(std::string_view& piece, size_t bytes)
{
    piece.remove_prefix(bytes);
    offset_ += bytes;
}

// A field's name is complete: sets the step for its value. An empty name is a comment, or one that is too
// long.
sse_item sse_reader::begin_field(std::string_view name, bool has_value)
{
    if (name == "data") {
        return begin_data(has_value ? step::data_gap : step::data);
    }
    if (name == "event") {
        event_size_ = 0;
        step_ = has_value ? step::event_gap : step::event;
        return {sse_item::what::none, {}};
    }
    has_id_ = has_id_ || name == "id";
    step_ = step::other;
    return {name == "error" ? sse_item::what::error : sse_item::what::none, {}};
}

sse_item sse_reader::begin_data(step next)
{
    step_ = next;
    if (has_data_) {
        return {sse_item::what::data, line_feed};
    }
    has_data_ = true;
    return {sse_item::what::none, {}};
}

void sse_reader::clear_event()
{
    ended_ = false;
    has_data_ = false;
    has_id_ = false;
    event_size_ = 0;
    event_begin_ = offset_;
}

} // namespace llm
