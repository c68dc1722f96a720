#include "request_media.h"

#include <algorithm>
#include <string_view>

namespace llm {

namespace {

bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'
           || c == '-' || c == '_' || c == '=' || c == '\n' || c == '\r';
}

// As far as the text is known.
bool looks_like_base64(std::string_view text)
{
    return !text.empty() && std::all_of(text.begin(), text.end(), is_base64);
}

// Servers read the text out of such a file.
bool is_text_type(std::string_view type)
{
    const std::string_view name = type.substr(0, type.find_first_of(";,"));
    return name.find('/') == std::string_view::npos || name.starts_with("text/")
           || name.starts_with("application/json") || name.starts_with("application/xml")
           || name.ends_with("+json") || name.ends_with("+xml");
}

// Of the begin of a text: whether it is a data URL in base64 of something other than text. A media type may
// be longer than what is known.
bool is_data_url(std::string_view text, bool truncated)
{
    constexpr std::string_view scheme = "data:";
    if (!text.starts_with(scheme) || is_text_type(text.substr(scheme.size()))) {
        return false;
    }
    const size_t comma = text.find(',');
    return comma == std::string_view::npos ? truncated : text.substr(0, comma).ends_with(";base64");
}

// Files in base64 without a media type, by their first bytes: PDF, ZIP (as word processors write), PNG, JPEG,
// GIF, RIFF (WebP, WAV), MP3, Ogg, FLAC.
bool is_known_file(std::string_view text)
{
    constexpr std::string_view begins[] = {"JVBERi", "UEsDB", "iVBORw", "/9j/",  "R0lGOD",
                                           "UklGR",  "SUQz",  "T2dnUw", "ZkxhQw"};
    return looks_like_base64(text) && std::any_of(std::begin(begins), std::end(begins), [&](auto begin) {
               return text.starts_with(begin);
           });
}

} // namespace

void request_media::take(const json_event& event, request_part part)
{
    if (part == request_part::carrier) {
        if (event.is == json_event::what::open) {
            carried_ = 0;
            has_data_ = has_type_ = is_text_ = false;
        } else if (event.is == json_event::what::close) {
            close_carrier();
        }
        return;
    }
    if (event.is != json_event::what::value || event.type != json_type::string) {
        return;
    }
    const uint64_t bytes = event.value_end - event.value_begin;
    const bool is_url = is_data_url(event.text, event.truncated);
    switch (part) {
    case request_part::url:
        if (is_url) {
            add(bytes);
        }
        break;
    case request_part::file:
        if (is_url || is_known_file(event.text)) {
            add(bytes);
        }
        break;
    case request_part::base64:
        if (is_url || looks_like_base64(event.text)) {
            add(bytes);
        }
        break;
    case request_part::data:
        is_text_ |= has_data_ || !looks_like_base64(event.text);
        has_data_ = true;
        carried_ = bytes;
        break;
    case request_part::type:
        is_text_ |= has_type_ || is_text_type(event.text);
        has_type_ = true;
        break;
    case request_part::encoding:
        is_text_ |= event.text != "base64";
        break;
    default:
        break;
    }
}

void request_media::close_carrier()
{
    if (has_data_ && has_type_ && !is_text_) {
        add(carried_);
    }
}

void request_media::add(uint64_t bytes)
{
    bytes_ += bytes;
    if (count_ != UINT32_MAX) {
        ++count_;
    }
}

} // namespace llm
