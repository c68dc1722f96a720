// Checks of single JSON values in a key file, with errors that say what stands where. Internal to src/keys.
#pragma once

#include "json_locate.h"

#include <cstdint>
#include <jansson.h>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

struct json_free {
    void operator()(json_t* value) const { json_decref(value); }
};
using json_ptr = std::unique_ptr<json_t, json_free>;

// The string's bytes; empty if `value` is no string (or null).
std::string_view string_of(const json_t* value);

// 1..max bytes without control characters. `text` is UTF-8.
bool is_plain(std::string_view text, size_t max);

// A name of a key, user or plan: 1..max_name such bytes.
bool is_name(std::string_view text);

// `text` between quotes as printable ASCII, cut to about `max` bytes.
std::string quoted(std::string_view text, size_t max = 60);

// Cuts an error text to its greatest length.
void bound(std::string& text);

// The way from the value under check (the owner) to one within it. Lives on the stack, made while descending.
struct trail {
    const trail* up = nullptr;
    std::string_view name;
    size_t index = 0;
    bool is_index = false;
};

// Whose fields are being checked, for messages.
struct field_owner {
    enum class kind : uint8_t { file, plan, key } is = kind::file;
    std::string_view plan; // name of the plan
    size_t index = 0;      // of the key in "keys"
    const json_t* key = nullptr;
};

class field_check {
public:
    // What checks below call on an error: keeps the message `"<where>" of <owner>: <what>` and the place.
    // Returns false. `at` null means the owner itself.
    bool fail(const trail* at, std::string_view what, json_part part = json_part::value);

    // "got <value>" for messages: what type it has, numbers and strings as they are, but no secret.
    std::string got(const json_t* value) const;
    bool fail_expected(const trail* at, std::string_view expected, const json_t* value);

    // A name or another short text for a message; hidden if it contains the plain key of the owner.
    std::string shown(std::string_view text) const;

    // The fields of an object, values[i] being the one called names[i], or null. Other fields are an error.
    bool fields(const trail* at, json_t* object, std::span<const std::string_view> names,
                std::span<json_t*> values);
    bool unknown_field(const trail* at, std::string_view name, std::span<const std::string_view> allowed);

    std::string owner_text() const;

    field_owner owner;

    // The last error. The steps of the path start at the owner; names in it point into the JSON tree or the
    // caller's memory.
    std::string error;
    std::vector<json_step> path;
    json_part part = json_part::value;
};

} // namespace llm
