#include "reply_form.h"

#include "core/base/bytes.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llm {

namespace {

// Whether text that is not shorter begins with `lowcase`, in any case: eight bytes at a time. Of the others
// that the bit of case makes the same, none stands in a content type.
bool begins_with(std::string_view text, std::string_view lowcase)
{
    constexpr uint64_t case_bits = 0x2020202020202020;
    const auto same = [&](size_t at) {
        uint64_t a = 0;
        uint64_t b = 0;
        std::memcpy(&a, text.data() + at, sizeof a);
        std::memcpy(&b, lowcase.data() + at, sizeof b);
        return (a | case_bits) == (b | case_bits);
    };
    for (size_t at = 0; at + 8 < lowcase.size(); at += 8) {
        if (!same(at)) {
            return false;
        }
    }
    return same(lowcase.size() - 8);
}

bool is_type(std::string_view content_type, std::string_view name)
{
    return content_type.size() >= name.size() && begins_with(content_type, name)
           && (content_type.size() == name.size() || content_type[name.size()] == ';'
               || content_type[name.size()] == ' ' || content_type[name.size()] == '\t');
}

} // namespace

reply_form reply_form_of(std::string_view content_type)
{
    while (!content_type.empty() && (content_type.front() == ' ' || content_type.front() == '\t')) {
        content_type.remove_prefix(1);
    }
    if (is_type(content_type, "text/event-stream")) {
        return reply_form::sse;
    }
    if (is_type(content_type, "application/x-ndjson")) {
        return reply_form::lines;
    }
    if (is_type(content_type, "application/json")) {
        return reply_form::json;
    }
    for (const std::string_view kind : {"audio/", "image/", "video/"}) {
        if (content_type.size() > kind.size()
            && std::equal(kind.begin(), kind.end(), content_type.begin(),
                          [](char a, char b) { return a == ascii_lower(b); })) {
            return reply_form::none;
        }
    }
    return reply_form::unknown;
}

reply_form reply_begin::take(char c)
{
    constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    constexpr std::string_view fields[] = {"data", "event", "id", "retry"};
    if (size_ == 0) {
        if (mark_ < byte_order_mark.size() && c == byte_order_mark[mark_]) {
            ++mark_;
            return reply_form::unknown;
        }
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            return reply_form::unknown;
        }
        if (c == '{' || c == '[' || c == ':') {
            decided_ = true;
            return c == ':' ? reply_form::sse : reply_form::json;
        }
    }
    const std::string_view name(name_, size_);
    for (const std::string_view field : fields) {
        if (field.starts_with(name) && (field.size() == size_ ? c == ':' : c == field[size_])) {
            decided_ = c == ':';
            if (!decided_) {
                name_[size_++] = c;
            }
            return reply_form::sse;
        }
    }
    decided_ = true;
    return reply_form::none;
}

} // namespace llm
