#include "query_model.h"

#include "core/base/bytes.h"
#include "core/base/chars.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

// The next byte of encoded text, which is taken off it. `fault`: a percent sign without two digits.
char next_byte(std::string_view& text, bool& fault)
{
    const char c = text[0];
    if (c == '%') {
        if (text.size() >= 3 && is_hex(text[1]) && is_hex(text[2])) {
            const int byte = hex_value(text[1]) * 16 + hex_value(text[2]);
            text.remove_prefix(3);
            return static_cast<char>(byte);
        }
        fault = true;
    }
    text.remove_prefix(1);
    return c == '+' ? ' ' : c;
}

enum class likeness { none, other_case, same };

likeness compare(std::string_view encoded, std::string_view name)
{
    likeness so_far = likeness::same;
    bool fault = false;
    for (const char wanted : name) {
        if (encoded.empty()) {
            return likeness::none;
        }
        const char c = next_byte(encoded, fault);
        if (ascii_lower(c) != wanted) {
            return likeness::none;
        }
        so_far = c == wanted ? so_far : likeness::other_case;
    }
    return encoded.empty() ? so_far : likeness::none;
}

likeness compare_to_names(std::string_view encoded)
{
    return std::max(compare(encoded, "model"), compare(encoded, "deployment"));
}

} // namespace

query_model model_in_query(std::string_view query, char* room, size_t room_size)
{
    query_model found;
    const char* const begin = query.data();
    while (!query.empty()) {
        const size_t end = query.find('&');
        const std::string_view pair = query.substr(0, end);
        query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);

        // To old servers a semicolon is another "&".
        const size_t semicolon = pair.find(';');
        for (std::string_view rest = pair; semicolon != std::string_view::npos;) {
            const size_t next = rest.find(';');
            const std::string_view part = rest.substr(0, next);
            found.unclear |= compare_to_names(part.substr(0, part.find('='))) != likeness::none;
            if (next == std::string_view::npos) {
                break;
            }
            rest.remove_prefix(next + 1);
        }

        const size_t equals = pair.find('=');
        const likeness is = compare_to_names(pair.substr(0, equals));
        if (is == likeness::none) {
            continue;
        }
        // Servers differ in which of two counts, and in whether case does.
        if (found.name.data() || is == likeness::other_case) {
            found.unclear = true;
            continue;
        }
        std::string_view value =
            equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        size_t size = 0;
        while (!value.empty() && size < room_size) {
            const char c = next_byte(value, found.unclear);
            found.unclear |= is_control(c);
            room[size++] = c;
        }
        // No name at all, or more of it than fits.
        if (size == 0 || !value.empty()) {
            found.unclear = true;
            continue;
        }
        found.name = {room, size};
        found.begin = static_cast<size_t>(pair.data() - begin) + equals + 1;
        found.end = static_cast<size_t>(pair.data() - begin) + pair.size();
    }
    return found;
}

} // namespace llm
