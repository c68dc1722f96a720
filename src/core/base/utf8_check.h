// Whether bytes are UTF-8, in any pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// As utf8_length() has it: no surrogates, no overlong forms, nothing above U+10FFFF. All zero bytes are a
// valid initial state.
class utf8_check {
public:
    // How many bytes of the piece a text in UTF-8 may have there: all, or those before the first that it
    // cannot have. A character may go on in the next piece. Not to be called again after an error.
    size_t feed(std::string_view piece);

    // One way of passing over what is well-formed: from p, where a character begins, to another such place,
    // before the first error. `begin` is that of the piece. How far it gets differs.
    struct way {
        std::string_view name;
        const char* (*pass)(const char* begin, const char* p, const char* end);
        bool passes_all; // not only ASCII
    };
    // Those of this processor, the fastest first.
    static std::span<const way> ways();
    // The same by the way that is given.
    size_t feed(std::string_view piece, const way& by);

private:
    // Of the character that goes on: how many bytes are missing, and what the next one may be.
    uint8_t missing_ = 0;
    uint8_t least_ = 0;
    uint8_t most_ = 0;
};

// Whether a text is UTF-8 as a whole.
inline bool is_utf8(std::string_view text)
{
    utf8_check check;
    // Behind a character that is not whole there is room for no other.
    return check.feed(text) == text.size() && check.feed(".") == 1;
}

} // namespace llm
