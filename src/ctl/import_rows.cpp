#include "import_rows.h"

#include "core/base/chars.h"
#include "keys/json_check.h"
#include "keys/json_locate.h"

#include <algorithm>

namespace llm::ctl {

namespace {

std::string place_text(uint32_t line, uint32_t column, std::string_view what)
{
    return std::to_string(line) + ":" + std::to_string(column) + ": " + std::string(what);
}

import_value value_at(std::string_view text, size_t at, size_t end)
{
    import_value value;
    const char first = at < text.size() ? text[at] : '\0';
    if (first == '"') {
        value.text = json_string_at(text, at);
    } else if (first == '[') {
        value.is_list = true;
        for (const json_child& each : json_children(text, at)) {
            value.items.push_back(value_at(text, each.value, each.end).text);
        }
    } else if (text.substr(at, end - at) != "null" && first != '{') {
        value.text = text.substr(at, end - at);
    }
    return value;
}

void add_members(std::string_view text, size_t object, import_row& row)
{
    for (const json_child& each : json_children(text, object)) {
        row.values.emplace_back(json_string_at(text, each.name), value_at(text, each.value, each.end));
    }
}

import_row row_at(std::string_view text, size_t at)
{
    import_row row;
    row.line = place_of(text, at).line;
    return row;
}

// An element of a list of keys.
std::optional<std::string> add_element(std::string_view text, const json_child& element,
                                       std::vector<import_row>& rows)
{
    import_row row = row_at(text, element.value);
    if (text[element.value] == '{') {
        add_members(text, element.value, row);
    } else if (text[element.value] == '"') {
        row.values.emplace_back("key", import_value{json_string_at(text, element.value), {}, false});
    } else {
        const text_position place = place_of(text, element.value);
        return place_text(place.line, place.column, "expected a key or an object");
    }
    rows.push_back(std::move(row));
    return std::nullopt;
}

// {"sk-...": {...}} or {"sk-...": "user"}
std::optional<std::string> add_named(std::string_view text, const json_child& member,
                                     std::vector<import_row>& rows)
{
    import_row row = row_at(text, member.name);
    row.values.emplace_back("key", import_value{json_string_at(text, member.name), {}, false});
    if (text[member.value] == '{') {
        add_members(text, member.value, row);
    } else if (text[member.value] == '"') {
        row.values.emplace_back("user", value_at(text, member.value, member.end));
    } else {
        const text_position place = place_of(text, member.value);
        return place_text(place.line, place.column, "expected a user or an object");
    }
    rows.push_back(std::move(row));
    return std::nullopt;
}

// Calls f(line, its number) for each that is not empty.
template <typename F>
std::optional<std::string> each_line(std::string_view text, F f)
{
    for (size_t number = 1; !text.empty(); number++) {
        const size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        while (!line.empty() && is_space(line.back())) {
            line.remove_suffix(1);
        }
        while (!line.empty() && is_space(line.front())) {
            line.remove_prefix(1);
        }
        if (!line.empty()) {
            if (auto error = f(line, number)) {
                return error;
            }
        }
    }
    return std::nullopt;
}

// Splits a record of CSV off the beginning of `text`.
std::vector<std::string> csv_record(std::string_view& text, size_t& line)
{
    std::vector<std::string> cells(1);
    size_t at = 0;
    bool quoted = false;
    for (; at < text.size(); at++) {
        const char c = text[at];
        line += c == '\n';
        if (quoted) {
            if (c != '"') {
                cells.back() += c;
            } else if (at + 1 < text.size() && text[at + 1] == '"') {
                cells.back() += text[at++];
            } else {
                quoted = false;
            }
        } else if (c == '"') {
            quoted = true;
        } else if (c == ',') {
            cells.emplace_back();
        } else if (c == '\n') {
            at++;
            break;
        } else if (c != '\r') {
            cells.back() += c;
        }
    }
    text.remove_prefix(at);
    return cells;
}

// A list as PostgreSQL writes it in CSV, {a,"b c"}, or as JSON.
import_value cell_value(std::string cell)
{
    import_value value;
    if (cell.starts_with('[') && !check_json(cell)) {
        return value_at(cell, 0, cell.size());
    }
    if (!cell.starts_with('{') || !cell.ends_with('}') || cell.find(':') != std::string::npos) {
        value.text = std::move(cell);
        return value;
    }
    value.is_list = true;
    std::string item;
    bool quoted = false, any = false;
    for (size_t i = 1; i < cell.size(); i++) {
        const char c = cell[i];
        if (quoted) {
            if (c == '\\' && i + 1 < cell.size()) {
                item += cell[++i];
            } else if (c == '"') {
                quoted = false;
            } else {
                item += c;
            }
        } else if (c == '"') {
            quoted = any = true;
        } else if (c == ',' || c == '}') {
            if (any) {
                value.items.push_back(std::move(item));
            }
            item.clear();
            any = false;
        } else {
            item += c;
            any = true;
        }
    }
    return value;
}

} // namespace

const import_value* import_row::find(std::initializer_list<std::string_view> names) const
{
    for (const std::string_view name : names) {
        for (const auto& [of, value] : values) {
            if (of == name && (value.is_list ? !value.items.empty() : !value.text.empty())) {
                return &value;
            }
        }
    }
    return nullptr;
}

std::optional<std::string> read_key_list(std::string_view text, std::vector<import_row>& rows)
{
    const size_t at = json_skip_space(text, 0);
    if (at == text.size() || (text[at] != '{' && text[at] != '[')) {
        return each_line(text, [&](std::string_view line, size_t number) -> std::optional<std::string> {
            if (line[0] == '#') {
                return std::nullopt;
            }
            // Behind the key may be its name.
            const size_t space = std::min(line.find_first_of(" \t"), line.size());
            import_row& row = rows.emplace_back();
            row.line = number;
            row.values.emplace_back("key", import_value{std::string(line.substr(0, space)), {}, false});
            const size_t name = std::min(line.find_first_not_of(" \t", space), line.size());
            row.values.emplace_back("name", import_value{std::string(line.substr(name)), {}, false});
            return std::nullopt;
        });
    }
    if (const auto error = check_json(text)) {
        return place_text(error->line, error->column, error->text);
    }
    const json_step keys_step[] = {{"keys"}};
    const auto keys = text[at] == '{' ? json_locate(text, at, keys_step) : std::optional(at);
    const bool is_list = keys && text[*keys] == '[';
    for (const json_child& each : json_children(text, is_list                      ? *keys
                                                      : keys && text[*keys] == '{' ? *keys
                                                                                   : at)) {
        if (auto error = is_list ? add_element(text, each, rows) : add_named(text, each, rows)) {
            return error;
        }
    }
    return std::nullopt;
}

std::optional<std::string> read_table(std::string_view text, std::vector<import_row>& rows)
{
    const size_t at = json_skip_space(text, 0);
    if (at < text.size() && text[at] == '[') {
        return read_key_list(text, rows);
    }
    if (at < text.size() && text[at] == '{') {
        if (!check_json(text) && json_children(text, at).size() == 1
            && text[json_children(text, at)[0].value] == '[') {
            return read_key_list(text, rows);
        }
        return each_line(text, [&](std::string_view line, size_t number) -> std::optional<std::string> {
            if (const auto error = check_json(line)) {
                return place_text(static_cast<uint32_t>(number), error->column, error->text);
            }
            import_row& row = rows.emplace_back();
            row.line = number;
            add_members(line, 0, row);
            return std::nullopt;
        });
    }
    if (text.starts_with("\xef\xbb\xbf")) {
        text.remove_prefix(3);
    }
    size_t line = 1;
    const std::vector<std::string> header = csv_record(text, line);
    while (!text.empty()) {
        import_row row;
        row.line = line;
        std::vector<std::string> cells = csv_record(text, line);
        if (cells.size() == 1 && cells[0].empty()) {
            continue;
        }
        if (cells.size() != header.size()) {
            return std::to_string(row.line) + ": has " + std::to_string(cells.size())
                   + " columns, the header has " + std::to_string(header.size());
        }
        for (size_t i = 0; i < cells.size(); i++) {
            row.values.emplace_back(header[i], cell_value(std::move(cells[i])));
        }
        rows.push_back(std::move(row));
    }
    return std::nullopt;
}

} // namespace llm::ctl
