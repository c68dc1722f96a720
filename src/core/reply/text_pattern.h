// Text that differs from other text only in strings and whole numbers whose places are known. What the
// comparison takes, json_scanner would read to the same end. Internal to event_pattern and reply_pattern.
#pragma once

#include "core/base/bytes.h"
#include "core/base/chars.h"
#include "core/json/json_bytes.h"
#include "usage_counts.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm {

class text_pattern {
public:
    // What differs: the inside of a string, which is not empty, or a whole number. `begin` and `end` are
    // places in the pattern's text.
    struct slot {
        uint16_t begin;
        uint16_t end;
        bool is_text;
        usage_field field;  // of a number; `count`: it means nothing
        bool lasts = false; // the same in all events of a stream
    };

    static constexpr size_t max_size = 2048;
    static constexpr size_t max_slots = 12;
    // A count is to fit into 32 bits; other numbers mean nothing.
    static constexpr size_t max_digits(usage_field field) { return field == usage_field::count ? 18 : 9; }

    char text[max_size];
    uint16_t size = 0; // 0: there is none
    uint8_t slots = 0;
    slot at[max_slots];

    bool add_slot(const slot& s)
    {
        if (slots == max_slots) {
            return false;
        }
        at[slots++] = s;
        return true;
    }

    // There is no pattern any more, nor what it was made of.
    void wipe()
    {
        std::memset(text, 0, size);
        size = 0;
        slots = 0;
    }

    // How many bytes of the front of `piece` are like the pattern; 0 if it is not. The numbers found are put
    // into `counts`. `on_slot` is called with each index, from 0 to `slots`, before what stands in front of
    // that slot is compared, and by how much `piece` is longer than the pattern there (modulo 2^64).
    template <typename OnSlot>
    size_t match(std::string_view piece, usage_fields& counts, OnSlot on_slot) const;
};

inline bool is_one_of(std::string_view name, const auto& names)
{
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// The strings that may differ. They count by being empty or not at most, at whatever place they stand.
bool may_differ(std::string_view name_of_string);
// Those of them that are the same in all events of a stream, and are nothing that the model wrote.
bool lasts(std::string_view name_of_string);
// Other strings that may be kept: words of the API, which neither the model nor the user wrote.
bool is_api_word(std::string_view name_of_string);
// Whether the object or array at `value`, which has this name, has members that only the server names. What
// is in the others may be anybody's words, the names of members too.
bool is_servers_own(std::string_view name, std::string_view value);

// The quote that ends the string p lies in; nullptr where the string is not valid, or goes on behind `end`.
const char* string_end(const char* p, const char* end);

// The digits of the whole number that starts at p and that a comma, a brace or a blank follows. 0 where
// another value stands, or a larger one than a slot of this field may hold. p[0, the number's size] can be
// read.
size_t plain_number_size(const char* p, const char* end, usage_field field);

template <typename OnSlot>
size_t text_pattern::match(std::string_view piece, usage_fields& counts, OnSlot on_slot) const
{
    const char* const begin = piece.data();
    const char* const end = begin + piece.size();
    const char* p = begin;
    const char* t = text;
    if (size == 0) {
        return 0;
    }
    for (size_t i = 0;; ++i) {
        const size_t moved = static_cast<size_t>(p - begin) - static_cast<size_t>(t - text);
        on_slot(i, moved);
        const size_t fixed = static_cast<size_t>(text + (i == slots ? size : at[i].begin) - t);
        if (static_cast<size_t>(end - p) < fixed || !same_bytes(p, t, fixed)) {
            return 0;
        }
        if (i == slots) {
            return size + moved;
        }
        p += fixed;
        t = text + at[i].end;
        const char* const from = p;
        if (at[i].is_text) {
            p = find_string_stop(p, end);
            if (p == end || (*p != '"' && (p = string_end(p, end)) == nullptr) || p == from) {
                return 0;
            }
        } else {
            const usage_field field = at[i].field;
            uint32_t value = 0; // of a count that is not too large for one
            if (field == usage_field::count) {
                p = find_digits_end(p, end);
            } else {
                for (; p != end && is_digit(*p); ++p) {
                    value = value * 10 + static_cast<uint32_t>(*p - '0');
                }
            }
            const size_t digits = static_cast<size_t>(p - from);
            if (digits == 0 || digits > max_digits(field) || (digits > 1 && *from == '0')) {
                return 0;
            }
            if (field != usage_field::count) {
                counts.put(field, value);
            }
        }
    }
}

} // namespace llm
