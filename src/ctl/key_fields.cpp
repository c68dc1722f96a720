#include "key_fields.h"

#include "core/base/chars.h"
#include "core/limit/limit_text.h"
#include "json_text_writer.h"
#include "keys/time_text.h"

#include <algorithm>
#include <vector>

namespace llm::ctl {

namespace {

constexpr key_field fields[] = {
    {"user", key_field::kind::text},      {"plan", key_field::kind::text},
    {"expires", key_field::kind::time},   {"models", key_field::kind::names},
    {"networks", key_field::kind::names}, {"requests", key_field::kind::limit},
    {"burst", key_field::kind::limit},    {"concurrency", key_field::kind::limit},
    {"tokens", key_field::kind::limit},   {"token_burst", key_field::kind::limit},
    {"quota", key_field::kind::limit},    {"user_from", key_field::kind::text},
    {"admin", key_field::kind::flag},     {"enabled", key_field::kind::flag},
};

std::optional<std::string> names_json(std::string_view text, const json_style& style)
{
    std::vector<std::string> items;
    while (true) {
        const size_t comma = text.find(',');
        std::string_view item = text.substr(0, comma);
        while (!item.empty() && item.front() == ' ') {
            item.remove_prefix(1);
        }
        while (!item.empty() && item.back() == ' ') {
            item.remove_suffix(1);
        }
        if (item.empty()) {
            return std::nullopt;
        }
        items.push_back(json_quoted(item));
        if (comma == std::string_view::npos) {
            return array_text(items, style);
        }
        text.remove_prefix(comma + 1);
    }
}

// Of at most 9 digits.
std::optional<int64_t> small_number(std::string_view text)
{
    if (text.empty() || text.size() > 9 || !std::all_of(text.begin(), text.end(), is_digit)) {
        return std::nullopt;
    }
    int64_t value = 0;
    for (const char c : text) {
        value = value * 10 + (c - '0');
    }
    return value;
}

std::string time_json(std::string_view text, int64_t now)
{
    if (text.size() == 10 && text[4] == '-' && text[7] == '-') {
        return json_quoted(std::string(text) + "T00:00:00Z");
    }
    const auto number = small_number(text.substr(0, text.size() - 1));
    const size_t unit = std::string_view("mhdw").find(text.back());
    if (!number || unit == std::string_view::npos) {
        return json_quoted(text);
    }
    static constexpr int64_t seconds[] = {60, 3600, 86400, 7 * 86400};
    char buffer[limit_text_bytes];
    return json_quoted(write_time((now + *number * seconds[unit]) * 1000, buffer));
}

} // namespace

std::span<const key_field> key_fields()
{
    return fields;
}

const key_field* find_key_field(std::string_view name)
{
    const auto found = std::find_if(std::begin(fields), std::end(fields),
                                    [&](const key_field& each) { return each.name == name; });
    return found == std::end(fields) ? nullptr : found;
}

std::string_view expected_of(const key_field& field)
{
    return field.is == key_field::kind::flag    ? "expected yes or no"
           : field.is == key_field::kind::names ? "expected one or more, with commas between them"
                                                : "expected a value";
}

bool is_past(const key_field& field, std::string_view text, int64_t now)
{
    if (field.is != key_field::kind::time || text.empty()) {
        return false;
    }
    const std::string json = time_json(text, now);
    const auto at = parse_time(std::string_view(json).substr(1, json.size() - 2));
    return at && *at <= now;
}

std::optional<std::string> field_json(const key_field& field, std::string_view text, int64_t now,
                                      const json_style& style)
{
    if (text.empty()) {
        return std::nullopt;
    }
    switch (field.is) {
    case key_field::kind::text:
        break;
    case key_field::kind::names:
        return names_json(text, style);
    case key_field::kind::time:
        return time_json(text, now);
    case key_field::kind::flag:
        if (text == "true" || text == "yes" || text == "on") {
            return "true";
        }
        return text == "false" || text == "no" || text == "off" ? std::optional("false") : std::nullopt;
    case key_field::kind::limit:
        // JSON has no numbers that begin with a zero.
        if (std::all_of(text.begin(), text.end(), is_digit) && (text.size() == 1 || text[0] != '0')) {
            return std::string(text);
        }
    }
    return json_quoted(text);
}

} // namespace llm::ctl
