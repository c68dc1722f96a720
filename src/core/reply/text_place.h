// Where the events of one stream have their text: mostly all at the same place, behind the same bytes. So the
// text of an event can be measured that is not read otherwise. An event that has none there, or has more
// behind it than the one that was read, may have text elsewhere: it is to be read.
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
    // `text` is the first byte within the quotes, so many bytes from where its event begins; those before it,
    // at least mark_size, can be read.
    void set(const char* text, uint64_t offset)
    {
        offset_ = static_cast<uint32_t>(offset <= UINT32_MAX ? offset : 0);
        copy_16(mark_, text - mark_size);
    }
    // How many bytes follow the text in its event, at most, if there is no text among them.
    void set_rest(uint64_t bytes) { rest_ = static_cast<uint32_t>(bytes <= UINT32_MAX ? bytes : 0); }

    struct found {
        size_t size = 0;           // of the text, unescaped; 0: there is none here
        const char* end = nullptr; // of the text: its quote
    };
    // The text of the event that begins at `p` and ends at `end` or before it.
    found measure(const char* p, const char* end) const
    {
        if (static_cast<size_t>(end - p) <= offset_ || !same_16(mark_, p + offset_ - mark_size)) {
            return {};
        }
        p += offset_;
        const char* const stop = find_string_stop(p, end);
        return stop != end && *stop == '"' ? found{static_cast<size_t>(stop - p), stop}
                                           : measure_escaped(p, end);
    }
    // Whether that is all the text of the event, which ends here.
    bool has_all(const found& text, const char* event_end) const
    {
        return text.size != 0 && static_cast<uint64_t>(event_end - text.end) <= rest_;
    }

private:
    static found measure_escaped(const char* p, const char* end);

    static void copy_16(char* to, const char* from) { __builtin_memcpy(to, from, mark_size); }
    static bool same_16(const char* a, const char* b) { return __builtin_memcmp(a, b, mark_size) == 0; }

    uint32_t offset_ = 0;
    uint32_t rest_ = 0;
    char mark_[mark_size] = {};
};

} // namespace llm
