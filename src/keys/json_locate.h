// Where in a JSON text a value stands, for error messages. The JSON library gives places only for syntax
// errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

// One step of a path into a JSON value: a member's name (unescaped), or an index if it is an element of an
// array.
struct json_step {
    std::string_view name;
    size_t index = 0;
    bool is_index = false;
};

enum class json_part : uint8_t {
    value, // the value that the path leads to
    name,  // the name of that member
};

struct text_position {
    uint32_t line;
    uint32_t column; // in bytes
};

// The first offset from `from` on that is not JSON's white space; text.size() if there is none.
size_t json_skip_space(std::string_view text, size_t from);

// The offset of what `path` leads to in the JSON value that starts at offset `from` (after white space), or
// nothing if the path does not exist. Of equal names the first is taken. The text should be JSON; on any
// other text the answer is of no use, but still inside it. Uses no recursion; time is linear in the text.
std::optional<size_t> json_locate(std::string_view text, size_t from, std::span<const json_step> path,
                                  json_part part = json_part::value);

// What stands in an object or array: offsets into the text.
struct json_child {
    size_t name;     // of the quote that the member's name begins with; of an element the same as `value`
    size_t name_end; // behind the quote at its end
    size_t value;
    size_t end; // of the value
};

// Everything in the object or array at `at`, in its order; nothing if it is neither. The text should be JSON,
// as above.
std::vector<json_child> json_children(std::string_view text, size_t at);

// What the string at `at` stands for; empty if there is none.
std::string json_string_at(std::string_view text, size_t at);

// Line and column, both from 1, of an offset (of the text's end if it is beyond it).
text_position place_of(std::string_view text, size_t offset);

} // namespace llm
