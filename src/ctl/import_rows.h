// Lists of keys of other programs, as rows of named values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llm::ctl {

struct import_value {
    std::string text;               // "true" and "false" of flags; empty: null
    std::vector<std::string> items; // of a list
    bool is_list = false;
};

struct import_row {
    size_t line = 0; // where it begins, from 1
    std::vector<std::pair<std::string, import_value>> values;

    // Of the first of these names that has a value that is not null.
    const import_value* find(std::initializer_list<std::string_view> names) const;
};

// JSON, or one key in a line. A key that stands alone, or is the name of an object's member, is the value
// "key". What is wrong, or nothing.
std::optional<std::string> read_key_list(std::string_view text, std::vector<import_row>& rows);

// A table as CSV with a header, as a JSON array, or as lines of JSON objects.
std::optional<std::string> read_table(std::string_view text, std::vector<import_row>& rows);

} // namespace llm::ctl
