// What nginx's side makes of an edit, on a text in memory.
#pragma once

#include "core/request/body_edit.h"

#include <algorithm>
#include <string>
#include <string_view>

// As nginx's side does it, where the body is.
inline std::string edited(std::string_view body, const llm::body_edit& edit)
{
    std::string tail;
    for (const llm::byte_edit& piece : edit.tail())
        tail.append(piece.text).append(body.substr(piece.copied.begin, piece.copied.size()));
    std::string out(body);
    for (const llm::byte_edit& e : edit.in_place()) {
        std::fill(out.begin() + static_cast<std::ptrdiff_t>(e.from.begin),
                  out.begin() + static_cast<std::ptrdiff_t>(e.from.end), ' ');
        out.replace(e.from.begin, e.text.size(), e.text);
    }
    out.resize(edit.keep());
    return out.append(tail);
}
