// Changes of single values in JSON text. All that is not changed stays as it is, byte by byte; what is new
// looks like what is beside it. The text must be JSON.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llm::ctl {

// How a value is written.
struct json_style {
    std::string colon = ": ";  // between name and value
    std::string gap = " ";     // behind a comma
    std::string pad = " ";     // inside the braces
    std::string end_pad = " "; // before the brace at the end
};

// Values are JSON text.
using json_members = std::vector<std::pair<std::string, std::string>>;

std::string object_text(const json_members& members, const json_style& style);
std::string array_text(const std::vector<std::string>& items, const json_style& style);

// What a text says besides its JSON: how objects within it are written in one line.
json_style inline_style(std::string_view text);

// `object` and `array` are offsets of their first byte.
std::optional<size_t> find_value(std::string_view text, size_t object, std::string_view name);
// Replaces the value of a member, or adds the member at the end.
void set_member(std::string& text, size_t object, std::string_view name, std::string_view value);
// Replaces a member, its name too; it has to be there.
void replace_member(std::string& text, size_t object, std::string_view old_name, std::string_view name,
                    std::string_view value);
void erase_member(std::string& text, size_t object, std::string_view name);
// Adds objects at the end of an array.
void append_objects(std::string& text, size_t array, std::span<const json_members> objects);
void erase_element(std::string& text, size_t array, size_t index);

} // namespace llm::ctl
