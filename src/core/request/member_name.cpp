#include "member_name.h"

#include "core/base/utf8.h"

namespace llm {

namespace {

constexpr uint32_t first_surrogate = 0xd800, first_low = 0xdc00, last_surrogate = 0xdfff;

// Of four digits.
uint32_t code_of(std::string_view digits)
{
    uint32_t code = 0;
    for (size_t i = 0; i < 4; ++i) {
        code = code << 4 | static_cast<uint32_t>(hex_value(digits[i]));
    }
    return code;
}

bool is_low(uint32_t code)
{
    return code >= first_low && code <= last_surrogate;
}

// Takes the code that follows a backslash and `u`. Half of a pair is told as it is.
uint32_t take_code(std::string_view& rest)
{
    uint32_t code = code_of(rest);
    rest.remove_prefix(4);
    if (code >= first_surrogate && code < first_low && rest.starts_with("\\u")
        && is_low(code_of(rest.substr(2)))) {
        code = 0x10000u + ((code - first_surrogate) << 10) + (code_of(rest.substr(2)) - first_low);
        rest.remove_prefix(6);
    }
    return code;
}

// The next letter of a name, in the one spelling that stands for both: an underscore makes a capital of what
// follows.
char take_letter(std::string_view& name, bool two_spellings)
{
    char c = name.front();
    name.remove_prefix(1);
    if (two_spellings && c == '_' && !name.empty()) {
        c = name.front();
        name.remove_prefix(1);
        c = c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
    }
    return c;
}

} // namespace

void member_name::read(std::string_view raw)
{
    static constexpr std::string_view letters = "\"\\/bfnrt";
    static constexpr char meant[] = {'"', '\\', '/', '\b', '\f', '\n', '\r', '\t'};
    size_t size = 0;
    bool cut = false;
    // What is read takes no more bytes than what was written.
    const auto put = [&](uint32_t code) {
        if (code == 0 || cut) {
            cut = odd_ = true;
        } else if (code >= first_surrogate && code <= last_surrogate) {
            odd_ = true;
        } else {
            size += put_utf8(room_ + size, code);
        }
    };
    if (raw.size() > max_escaped) {
        raw = {};
        odd_ = true;
    }
    while (!raw.empty()) {
        const char c = raw.front();
        raw.remove_prefix(1);
        if (c == '\\') {
            const char e = raw.front();
            raw.remove_prefix(1);
            put(e == 'u' ? take_code(raw) : static_cast<uint8_t>(meant[letters.find(e)]));
        } else if (!cut) {
            room_[size++] = c;
        }
    }
    name_ = {room_, size};

    // U+017F is a small s in another case, and U+212A a small k.
    size_t folded = 0;
    for (size_t i = 0; i < size; ++i) {
        const std::string_view rest = name_.substr(i);
        const std::string_view letter = rest.starts_with("\u017f")   ? "\u017f"
                                        : rest.starts_with("\u212a") ? "\u212a"
                                                                     : "";
        if (letter.empty()) {
            room_[folded++] = room_[i];
        } else {
            room_[folded++] = letter.size() == 2 ? 's' : 'k';
            i += letter.size() - 1;
            odd_ = true;
        }
    }
    name_ = {room_, folded};
}

name_match member_name::match(std::string_view name, bool two_spellings) const
{
    if (!two_spellings && name_.size() != name.size()) {
        return name_match::no;
    }
    if (!odd_ && name_ == name) {
        return name_match::exact;
    }
    bool same = !odd_;
    std::string_view a = name_;
    while (!a.empty() && !name.empty()) {
        const char p = take_letter(a, two_spellings);
        const char q = take_letter(name, two_spellings);
        if (p != q) {
            same = false;
            if (ascii_lower(p) != ascii_lower(q)) {
                return name_match::no;
            }
        }
    }
    if (!a.empty() || !name.empty()) {
        return name_match::no;
    }
    return same ? name_match::exact : name_match::doubtful;
}

} // namespace llm
