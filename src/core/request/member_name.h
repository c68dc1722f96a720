// Whether a member's name, as a client has written it, is a certain one: to all parsers, or to some.
#pragma once

#include "core/base/chars.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm {

enum class name_match : uint8_t {
    no,
    exact,
    doubtful, // in another case, as Go's parser takes it, cut at a NUL, or less lone surrogates
};

class member_name {
public:
    static constexpr size_t max_escaped = 1024;

    // `raw` is what stands between the quotes in JSON whose grammar is right, and has to live as long. A name
    // that is not plain may have max_escaped bytes.
    explicit member_name(std::string_view raw) : name_(raw)
    {
        if (!is_plain(raw)) {
            read(raw);
        }
    }

    // Without escapes, and in ASCII only.
    static bool is_plain(std::string_view raw)
    {
        size_t i = 0;
        for (; i + 8 <= raw.size(); i += 8) {
            uint64_t word = 0;
            std::memcpy(&word, raw.data() + i, sizeof word);
            const uint64_t backslash = word ^ 0x5c5c5c5c5c5c5c5cu;
            if (((word | ((backslash - 0x0101010101010101u) & ~backslash)) & 0x8080808080808080u) != 0) {
                return false;
            }
        }
        for (; i < raw.size(); ++i) {
            if (raw[i] == '\\' || static_cast<uint8_t>(raw[i]) >= 0x80) {
                return false;
            }
        }
        return true;
    }

    std::string_view name() const { return name_; }
    // `name` is in ASCII. `two_spellings`: as in Gemini's API, `maxTokens` and `max_tokens` are the same
    // name.
    name_match match(std::string_view name, bool two_spellings = false) const;

private:
    void read(std::string_view raw);

    std::string_view name_;
    bool odd_ = false;
    char room_[max_escaped]; // of a name that is not plain
};

// Whether two names in ASCII, or two fields with dots, are the same to Gemini's API.
inline bool is_same_in_two_spellings(std::string_view a, std::string_view b)
{
    return member_name(a).match(b, true) == name_match::exact;
}

} // namespace llm
