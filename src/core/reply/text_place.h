// Where the events of one stream have their text: mostly all at the same place, behind the same bytes. So the
// text of an event can be measured that is not read otherwise. An event that has none there, or has more
// behind it than the one that was read, may have text elsewhere, and one in which some `finish_reason` is not
// null may end the choice: it is to be read. In streams with named events those of one name are alike, and
// none of those with text ends a choice.
//
// This goes by lengths: where an event lacks something that the one before it had behind its text, a second
// text, or a choice that ends, may hide in as many bytes. An estimate is less by those, then, and that the
// choice has ended is not seen before the stream says so; what the upstream counts is not touched.
#pragma once

#include "core/base/text_size.h"
#include "core/json/json_bytes.h"

#include <cstddef>
#include <cstdint>

namespace llm {

class text_place {
public:
    static constexpr size_t mark_size = 16;

    bool known() const { return offset_ != 0; }
    // It is of events with a name.
    bool has_name() const { return delta_ != 0; }
    // `text` is the first byte within the quotes, so many bytes from where its event begins; those before it,
    // at least mark_size, can be read. `next` follows its second quote.
    void set(const char* text, uint64_t offset, char next)
    {
        offset_ = distance(offset);
        next_ = next;
        copy_16(mark_, text - mark_size);
    }
    // The event that has the text is so long, and so many bytes of it follow the text's end, at most.
    // `finish_end`: where the null of its only finish_reason ends, for which is_null_finish() is true; 0:
    // there is none. `delta`: which of all_deltas() it is, from 1 on; 0: none of them.
    void set_event(uint64_t size, uint64_t rest, uint64_t finish_end, uint8_t delta)
    {
        delta_ = delta;
        rest_ = distance(rest);
        finish_in_front_ = finish_end != 0 && finish_end < offset_;
        finish_ = finish_end == 0 ? 0 : distance(finish_in_front_ ? finish_end : size - finish_end);
    }
    // Whether a null that ends at `end` is that of a finish_reason in a usual spelling. `bytes`: how many in
    // front of `end` can be read.
    static bool is_null_finish(const char* end, uint64_t bytes)
    {
        return bytes >= finish_size && is_null_finish(end);
    }
    // Where the data begins of the event at `p`, if it has the name that those have whose place this is;
    // nullptr: another, or none. `p` where they have none.
    const char* past_name(const char* p, const char* end) const { return has_name() ? find_data(p, end) : p; }

    struct found {
        size_t size = 0;             // of the text, unescaped; 0: there is none here
        const char* end = nullptr;   // of the text: its quote
        const char* begin = nullptr; // its first byte
    };
    // The text of the event that begins at `p` and ends at `end` or before it.
    found measure(const char* p, const char* end) const
    {
        if (static_cast<size_t>(end - p) <= offset_ || !same_16(mark_, p + offset_ - mark_size)) {
            return {};
        }
        p += offset_;
        const char* const stop = find_string_stop(p, end);
        return stop != end && *stop == '"' ? found{static_cast<size_t>(stop - p), stop, p}
                                           : measure_escaped(p, stop, end);
    }
    // Whether that is all the text of the event from `begin` to `end`, and no choice ends with it.
    bool has_all(const found& text, const char* begin, const char* end) const
    {
        if (text.size == 0) {
            return false;
        }
        const auto rest = static_cast<size_t>(end - text.end);
        if (rest == rest_ && is_null_finish(finish_in_front_ ? begin + finish_ : end - finish_)) {
            return true;
        }
        const bool is_behind = finish_ != 0 && !finish_in_front_;
        return rest <= rest_ && text.end[1] == next_
               && (has_name() || has_no_finish(is_behind ? text.end : begin, end));
    }

private:
    static constexpr size_t finish_size = 8;

    const char* find_data(const char* p, const char* end) const;
    static found measure_escaped(const char* p, const char* stop, const char* end);
    static bool has_no_finish(const char* begin, const char* end);
    static bool is_null_finish(const char* end)
    {
        return __builtin_memcmp(end - finish_size, "on\":null", finish_size) == 0
               || __builtin_memcmp(end - finish_size, "n\": null", finish_size) == 0;
    }
    static uint16_t distance(uint64_t bytes)
    {
        return static_cast<uint16_t>(bytes <= UINT16_MAX ? bytes : 0);
    }

    static void copy_16(char* to, const char* from) { __builtin_memcpy(to, from, mark_size); }
    static bool same_16(const char* a, const char* b) { return __builtin_memcmp(a, b, mark_size) == 0; }

    uint16_t offset_ = 0;
    uint16_t rest_ = 0;
    uint16_t finish_ = 0;          // where it ends: from the event's end, or from its begin; 0: unknown
    bool finish_in_front_ = false; // of the text
    uint8_t delta_ = 0;
    char next_ = 0;
    char mark_[mark_size] = {};
};

} // namespace llm
