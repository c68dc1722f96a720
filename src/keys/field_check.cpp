#include "field_check.h"

#include "core/base/chars.h"
#include "core/shared/key_record.h"

#include <algorithm>
#include <cstdio>

namespace llm {

namespace {

constexpr size_t max_error = 300;

// Whether a name that is not known may be shown. A secret that stands where a field's name should (keys given
// as an object of keys, for example) must not reach the log.
bool looks_like_field(std::string_view name)
{
    return name.size() <= 24 && !name.starts_with("sk-");
}

} // namespace

std::string_view string_of(const json_t* value)
{
    return json_is_string(value) ? std::string_view(json_string_value(value), json_string_length(value))
                                 : std::string_view();
}

bool is_plain(std::string_view text, size_t max)
{
    return !text.empty() && text.size() <= max && !has_control(text);
}

bool is_name(std::string_view text)
{
    return is_plain(text, max_name);
}

std::string quoted(std::string_view text, size_t max)
{
    std::string result = "\"";
    for (const char c : text) {
        const auto byte = static_cast<uint8_t>(c);
        if (result.size() > max) {
            result += "...";
            break;
        }
        if (c == '"' || c == '\\') {
            result += '\\';
            result += c;
        } else if (byte < 0x80 && !is_control(c)) {
            result += c;
        } else {
            char digits[2];
            put_hex(digits, byte);
            result += "\\x";
            result.append(digits, sizeof digits);
        }
    }
    result += '"';
    return result;
}

void bound(std::string& text)
{
    if (text.size() > max_error) {
        text.resize(max_error - 3);
        text += "...";
    }
}

bool field_check::fail(const trail* at, std::string_view what, json_part which)
{
    path.clear();
    for (const trail* step = at; step; step = step->up) {
        path.push_back({step->name, step->index, step->is_index});
    }
    std::reverse(path.begin(), path.end());
    part = which;

    std::string where;
    for (const json_step& step : path) {
        if (step.is_index) {
            where += '[' + std::to_string(step.index) + ']';
        } else {
            where += where.empty() ? "" : ".";
            where += step.name;
        }
    }
    error.clear();
    if (!where.empty()) {
        error = quoted(where);
        error += owner.is == field_owner::kind::file ? ": " : " of ";
    }
    if (owner.is != field_owner::kind::file) {
        error += owner_text() + ": ";
    }
    error += what;
    bound(error);
    return false;
}

std::string field_check::got(const json_t* value) const
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
        return "got an object";
    case JSON_ARRAY:
        return json_array_size(value) ? "got an array" : "got an empty array";
    case JSON_STRING:
        return "got " + shown(string_of(value));
    case JSON_INTEGER:
        return "got " + std::to_string(json_integer_value(value));
    case JSON_REAL: {
        char text[32];
        snprintf(text, sizeof text, "%.10g", json_real_value(value));
        return std::string("got ") + text;
    }
    case JSON_TRUE:
        return "got true";
    case JSON_FALSE:
        return "got false";
    default:
        return "got null";
    }
}

bool field_check::fail_expected(const trail* at, std::string_view expected, const json_t* value)
{
    return fail(at, "expected " + std::string(expected) + ", " + got(value));
}

std::string field_check::shown(std::string_view text) const
{
    const std::string_view secret = string_of(json_object_get(owner.key, "key"));
    if (!secret.empty() && text.find(secret) != std::string_view::npos) {
        return "(not shown)";
    }
    return quoted(text);
}

bool field_check::fields(const trail* at, json_t* object, std::span<const std::string_view> names,
                         std::span<json_t*> values)
{
    if (!json_is_object(object)) {
        // A string in its place may be a key.
        return fail(at, json_is_string(object) ? "expected an object, got a string"
                                               : "expected an object, " + got(object));
    }
    std::fill(values.begin(), values.end(), nullptr);
    for (void* i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
        const std::string_view name = json_object_iter_key(i);
        const auto found = std::find(names.begin(), names.end(), name);
        if (found == names.end()) {
            return unknown_field(at, name, names);
        }
        values[static_cast<size_t>(found - names.begin())] = json_object_iter_value(i);
    }
    return true;
}

bool field_check::unknown_field(const trail* at, std::string_view name,
                                std::span<const std::string_view> allowed)
{
    std::string what =
        "unknown field " + (looks_like_field(name) ? shown(name) : "(not shown)") + ", expected ";
    for (size_t i = 0; i < allowed.size(); i++) {
        what += i == 0 ? "" : i + 1 < allowed.size() ? ", " : " or ";
        what += allowed[i];
    }
    // The message is about the object that has the field, the place is the field's.
    fail(at, what);
    path.push_back({name});
    part = json_part::name;
    return false;
}

std::string field_check::owner_text() const
{
    if (owner.is == field_owner::kind::file) {
        return "the file";
    }
    if (owner.is == field_owner::kind::plan) {
        return "plan " + shown(owner.plan);
    }
    for (const char* field : {"name", "user"}) {
        const std::string_view name = string_of(json_object_get(owner.key, field));
        const std::string_view secret = string_of(json_object_get(owner.key, "key"));
        if (is_name(name) && (secret.empty() || name.find(secret) == std::string_view::npos)) {
            return "key " + quoted(name);
        }
    }
    return "keys[" + std::to_string(owner.index) + "]";
}

} // namespace llm
