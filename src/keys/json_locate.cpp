#include "json_locate.h"

#include "core/base/chars.h"
#include "core/base/utf8.h"

#include <algorithm>
#include <string>

namespace llm {

namespace {

constexpr size_t nowhere = std::string_view::npos;

// The offset after the string that starts at `at`; nowhere if it does not end.
size_t skip_string(std::string_view text, size_t at)
{
    for (size_t i = at + 1; i < text.size(); i++) {
        if (text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            return i + 1;
        }
    }
    return nowhere;
}

// The offset after the value that starts at `at`; nowhere if there is none.
size_t skip_value(std::string_view text, size_t at)
{
    size_t depth = 0;
    size_t i = at;
    while (i < text.size()) {
        const char c = text[i];
        if (c == '"') {
            i = skip_string(text, i);
            if (i == nowhere) {
                return nowhere;
            }
        } else if (c == '{' || c == '[') {
            depth++;
            i++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) {
                return i == at ? nowhere : i;
            }
            depth--;
            i++;
        } else if (depth == 0) {
            // A number or a word.
            i = std::min(text.find_first_of(",]}: \t\r\n", i), text.size());
            return i == at ? nowhere : i;
        } else {
            i++;
        }
        if (depth == 0) {
            return i;
        }
    }
    return nowhere;
}

// Four hex digits at `at`, or nothing.
std::optional<uint32_t> four_hex(std::string_view text, size_t at)
{
    if (at > text.size() || text.size() - at < 4) {
        return std::nullopt;
    }
    uint32_t value = 0;
    for (const char c : text.substr(at, 4)) {
        if (!is_hex(c)) {
            return std::nullopt;
        }
        value = value << 4 | static_cast<uint32_t>(hex_value(c));
    }
    return value;
}

// What the string between the quotes `raw` stands for.
std::string unescape(std::string_view raw)
{
    std::string result;
    for (size_t i = 0; i < raw.size(); i++) {
        if (raw[i] != '\\' || i + 1 == raw.size()) {
            result += raw[i];
            continue;
        }
        const char c = raw[++i];
        if (c == 'u') {
            std::optional<uint32_t> code = four_hex(raw, i + 1);
            if (!code) {
                continue;
            }
            i += 4;
            if (*code >> 10 == 0xd800 >> 10 && raw.substr(i + 1, 2) == "\\u") {
                const std::optional<uint32_t> low = four_hex(raw, i + 3);
                if (low && *low >> 10 == 0xdc00 >> 10) {
                    code = 0x10000 + ((*code & 0x3ff) << 10) + (*low & 0x3ff);
                    i += 6;
                }
            }
            char bytes[4];
            result.append(bytes, put_utf8(bytes, *code));
        } else {
            static constexpr std::string_view from = "bfnrt", to = "\b\f\n\r\t";
            const size_t known = from.find(c);
            result += known == nowhere ? c : to[known];
        }
    }
    return result;
}

// The offset of the element `index` of the array at `at`.
size_t find_element(std::string_view text, size_t at, size_t index)
{
    if (at >= text.size() || text[at] != '[') {
        return nowhere;
    }
    at = json_skip_space(text, at + 1);
    for (size_t i = 0; i < index; i++) {
        at = skip_value(text, at);
        if (at == nowhere) {
            return nowhere;
        }
        at = json_skip_space(text, at);
        if (at == text.size() || text[at] != ',') {
            return nowhere;
        }
        at = json_skip_space(text, at + 1);
    }
    return at < text.size() && text[at] != ']' ? at : nowhere;
}

struct member {
    size_t name;
    size_t value;
};

member find_member(std::string_view text, size_t at, std::string_view name)
{
    constexpr member none{nowhere, nowhere};
    if (at >= text.size() || text[at] != '{') {
        return none;
    }
    do {
        const size_t start = json_skip_space(text, at + 1);
        if (start == text.size() || text[start] != '"') {
            return none;
        }
        const size_t end = skip_string(text, start);
        if (end == nowhere) {
            return none;
        }
        at = json_skip_space(text, end);
        if (at == text.size() || text[at] != ':') {
            return none;
        }
        at = json_skip_space(text, at + 1);
        if (at == text.size()) {
            return none;
        }
        const std::string_view raw = text.substr(start + 1, end - start - 2);
        if (raw.find('\\') == nowhere ? raw == name : unescape(raw) == name) {
            return {start, at};
        }
        at = skip_value(text, at);
        if (at == nowhere) {
            return none;
        }
        at = json_skip_space(text, at);
    } while (at < text.size() && text[at] == ',');
    return none;
}

} // namespace

size_t json_skip_space(std::string_view text, size_t from)
{
    while (from < text.size()
           && (text[from] == ' ' || text[from] == '\n' || text[from] == '\r' || text[from] == '\t')) {
        from++;
    }
    return std::min(from, text.size());
}

std::optional<size_t> json_locate(std::string_view text, size_t from, std::span<const json_step> path,
                                  json_part part)
{
    size_t at = json_skip_space(text, from);
    size_t name = nowhere;
    for (const json_step& step : path) {
        if (step.is_index) {
            name = nowhere;
            at = find_element(text, at, step.index);
        } else {
            const member found = find_member(text, at, step.name);
            name = found.name;
            at = found.value;
        }
        if (at == nowhere) {
            return std::nullopt;
        }
    }
    if (part == json_part::name) {
        at = name;
    }
    return at < text.size() ? std::optional(at) : std::nullopt;
}

std::vector<json_child> json_children(std::string_view text, size_t at)
{
    std::vector<json_child> found;
    if (at >= text.size() || (text[at] != '{' && text[at] != '[')) {
        return found;
    }
    const bool is_object = text[at] == '{';
    do {
        json_child child{};
        child.name = child.name_end = child.value = json_skip_space(text, at + 1);
        if (is_object) {
            if (child.name == text.size() || text[child.name] != '"') {
                break;
            }
            child.name_end = skip_string(text, child.name);
            const size_t colon =
                child.name_end == nowhere ? text.size() : json_skip_space(text, child.name_end);
            if (colon == text.size() || text[colon] != ':') {
                break;
            }
            child.value = json_skip_space(text, colon + 1);
        }
        child.end = skip_value(text, child.value);
        if (child.end == nowhere) {
            break;
        }
        found.push_back(child);
        at = json_skip_space(text, child.end);
    } while (at < text.size() && text[at] == ',');
    return found;
}

std::string json_string_at(std::string_view text, size_t at)
{
    if (at >= text.size() || text[at] != '"') {
        return {};
    }
    const size_t end = skip_string(text, at);
    return end == nowhere ? std::string() : unescape(text.substr(at + 1, end - at - 2));
}

text_position place_of(std::string_view text, size_t offset)
{
    const std::string_view before = text.substr(0, std::min(offset, text.size()));
    const size_t newline = before.rfind('\n');
    const auto line = static_cast<uint32_t>(1 + std::count(before.begin(), before.end(), '\n'));
    const size_t start = newline == nowhere ? 0 : newline + 1;
    return {line, static_cast<uint32_t>(before.size() - start + 1)};
}

} // namespace llm
