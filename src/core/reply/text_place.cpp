#include "text_place.h"

#include "core/api/api_table.h"
#include "core/base/chars.h"
#include "core/json/string_text.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace llm {

const char* text_place::find_data(const char* p, const char* end) const
{
    const std::string_view name = all_deltas()[delta_ - 1u];
    for (const std::string_view part : {std::string_view("event: "), name, std::string_view("\ndata: ")}) {
        if (!std::string_view(p, static_cast<size_t>(end - p)).starts_with(part)) {
            return nullptr;
        }
        p += part.size();
    }
    return p;
}

// `stop`: where the first run of plain text ends.
text_place::found text_place::measure_escaped(const char* p, const char* stop, const char* end)
{
    uint64_t surplus = 0;
    stop = past_string_text(stop, end, surplus);
    return stop != end && *stop == '"' ? found{static_cast<size_t>(stop - p) - surplus, stop, p} : found{};
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
