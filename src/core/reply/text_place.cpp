#include "text_place.h"

#include "core/base/chars.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace llm {

text_place::found text_place::measure_escaped(const char* p, const char* end)
{
    const char* const begin = p;
    size_t size = 0;
    for (;;) {
        const char* const stop = find_string_stop(p, end);
        size += static_cast<size_t>(stop - p);
        if (stop == end || (*stop != '"' && *stop != '\\')) {
            return {};
        }
        if (*stop == '"') {
            return {size, stop, begin};
        }
        const size_t escape_size = end - stop > 1 && stop[1] == 'u' ? 6 : 2;
        if (static_cast<size_t>(end - stop) < escape_size
            || (escape_size == 6 && !std::all_of(stop + 2, stop + 6, is_hex))) {
            return {};
        }
        if (escape_size == 2) {
            size += 1;
        } else {
            // By the first hex digits, see utf8_size_of_escape().
            const bool below_800 = stop[2] == '0' && stop[3] <= '7';
            const bool below_80 = below_800 && stop[3] == '0' && stop[4] <= '7';
            const bool is_half = ascii_lower(stop[2]) == 'd' && stop[3] >= '8';
            size += below_80 ? 1 : below_800 || is_half ? 2 : 3;
        }
        p = stop + escape_size;
    }
}

// Whether each that stands there is null.
bool text_place::has_no_finish(const char* begin, const char* end)
{
    constexpr std::string_view first = "\"finish";
    constexpr std::string_view second = "_reason\"";
    const auto rest_of = [&](const char* p) { return std::string_view(p, static_cast<size_t>(end - p)); };
    // Few other names have this byte.
    const char* p = begin;
    while ((p = static_cast<const char*>(std::memchr(p, '_', rest_of(p).size()))) != nullptr) {
        const bool is_it = static_cast<size_t>(p - begin) >= first.size()
                           && std::string_view(p - first.size(), first.size()) == first
                           && rest_of(p).starts_with(second);
        if (!is_it) {
            ++p;
            continue;
        }
        p = std::find_if_not(p + second.size(), end, [](char c) { return is_space(c) || c == ':'; });
        if (!rest_of(p).starts_with("null")) {
            return false;
        }
    }
    return true;
}

} // namespace llm
