#include "request_values.h"

#include "core/base/bytes.h"
#include "core/json/json_count.h"

#include <algorithm>
#include <string_view>

namespace llm {

namespace {

// Far above any real bound, and sums and products of it with other counts stay far below UINT64_MAX.
constexpr uint64_t max_bound = uint64_t{1} << 40;

std::string_view trimmed(std::string_view text)
{
    constexpr std::string_view spaces = " \t\n\r\v\f";
    const size_t from = text.find_first_not_of(spaces);
    return from == std::string_view::npos ? std::string_view()
                                          : text.substr(from, text.find_last_not_of(spaces) - from + 1);
}

bool is_word(std::string_view text, std::string_view lowcase)
{
    return text.size() == lowcase.size()
           && std::equal(text.begin(), text.end(), lowcase.begin(),
                         [](char a, char b) { return ascii_lower(a) == b; });
}

// The words are those of pydantic's lax mode.
request_flag flag_of_word(std::string_view text)
{
    for (const std::string_view word : {"0", "f", "n", "no", "off", "false"}) {
        if (is_word(text, word)) {
            return request_flag::no;
        }
    }
    for (const std::string_view word : {"1", "t", "y", "on", "yes", "true"}) {
        if (is_word(text, word)) {
            return request_flag::yes;
        }
    }
    return request_flag::unclear;
}

} // namespace

bool lax_count(const json_event& event, uint64_t& count)
{
    switch (event.type) {
    case json_type::number:
        return !event.truncated && json_count(event.text, max_bound, count);
    case json_type::string: {
        std::string_view text = event.text;
        text = trimmed(text);
        if (text.starts_with('+')) {
            text.remove_prefix(1);
        }
        return !event.truncated && json_count(text, max_bound, count);
    }
    case json_type::yes:
    case json_type::no:
        count = event.type == json_type::yes ? 1 : 0;
        return true;
    default:
        return false;
    }
}

request_flag flag_of(const json_event& event)
{
    if (event.is == json_event::what::open || event.truncated) {
        return request_flag::unclear;
    }
    switch (event.type) {
    case json_type::null:
    case json_type::no:
        return request_flag::no;
    case json_type::yes:
        return request_flag::yes;
    case json_type::string:
        return flag_of_word(event.text);
    default:
        break;
    }
    // 1e-9 is not 0, yet no count either.
    uint64_t count = 0;
    if (!json_count(event.text, max_bound, count) || count > 1) {
        return request_flag::unclear;
    }
    return count == 1 ? request_flag::yes : request_flag::no;
}

} // namespace llm
