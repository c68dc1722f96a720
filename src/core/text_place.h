// Where the events of one stream have their text: mostly all at the same place, behind the same bytes. So the
// text of an event can be measured that is not read otherwise.
#pragma once

#include "bytes.h"
#include "text_size.h"

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
    // The size of the text, unescaped, if the event that begins at `p` has its text here and ends before
    // `end`; else no_text.
    size_t measure(const char* p, const char* end) const
    {
        if (static_cast<size_t>(end - p) <= offset_ || !same_16(mark_, p + offset_ - mark_size)) {
            return no_text;
        }
        p += offset_;
        const char* const stop = find_string_stop(p, end);
        return stop != end && *stop == '"' ? static_cast<size_t>(stop - p) : measure_escaped(p, end);
    }

    static constexpr size_t no_text = SIZE_MAX;

private:
    static size_t measure_escaped(const char* p, const char* end);

    static void copy_16(char* to, const char* from) { __builtin_memcpy(to, from, mark_size); }
    static bool same_16(const char* a, const char* b) { return __builtin_memcmp(a, b, mark_size) == 0; }

    uint32_t offset_ = 0;
    char mark_[mark_size] = {};
};

} // namespace llm
