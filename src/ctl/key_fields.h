// Fields of a key as people give them on the command line.
#pragma once

#include "json_edit.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace llm::ctl {

struct key_field {
    enum class kind : uint8_t { text, names, time, flag, limit };
    std::string_view name;
    kind is;
};

// Those that `add` and `set` know: not the name and the secret.
std::span<const key_field> key_fields();
const key_field* find_key_field(std::string_view name);

// What field_json() expects, where there is something that it may refuse.
std::string_view expected_of(const key_field& field);

// Whether `text` is a time, and it is over.
bool is_past(const key_field& field, std::string_view text, int64_t now);

// A value as JSON: "a,b*" of names, "30d" or "2027-01-01" of times, "yes" of flags, numbers or text of
// limits. Nothing if it is none; the rest is for the parser of the file to say. `now` in seconds since 1970.
std::optional<std::string> field_json(const key_field& field, std::string_view text, int64_t now,
                                      const json_style& style);

} // namespace llm::ctl
