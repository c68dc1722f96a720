// What nginx's side makes of an edit, on a text in memory.
#pragma once

#include "core/request/body_edit.h"

#include <algorithm>
#include <string>
#include <string_view>

inline std::string edited(std::string_view body, const llm::body_edit& edit)
{
    std::string tail;
    for (const llm::tail_piece& piece : edit.tail())
        tail.append(piece.text).append(body.substr(piece.range.begin, piece.range.end - piece.range.begin));
    std::string out(body);
    for (const llm::body_range& range : edit.blanks())
        std::fill(out.begin() + static_cast<std::ptrdiff_t>(range.begin),
                  out.begin() + static_cast<std::ptrdiff_t>(range.end), ' ');
    out.resize(edit.keep());
    return out.append(tail);
}
