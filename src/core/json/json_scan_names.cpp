// json_scanner's names: which path's they are.

#include "core/base/bytes.h"
#include "json_scan_run.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace llm {

namespace {

// json_name_head() of a name that is not empty, without a loop.
uint64_t head_of(std::string_view name)
{
    static_assert(std::endian::native == std::endian::little);
    const char* const p = name.data();
    const size_t n = name.size();
    if (n >= 8) {
        uint64_t head = 0;
        std::memcpy(&head, p, sizeof head);
        return head;
    }
    if (n >= 4) {
        uint32_t first = 0;
        uint32_t last = 0;
        std::memcpy(&first, p, sizeof first);
        std::memcpy(&last, p + n - sizeof last, sizeof last);
        return first | uint64_t{last} << (8 * (n - sizeof last));
    }
    const auto byte = [&](size_t i) { return uint64_t{static_cast<uint8_t>(p[i])} << (8 * i); };
    return byte(0) | byte(n / 2) | byte(n - 1);
}

// Of names of one size whose heads are the same. Faster than a call of memcmp.
bool same_tail(const char* a, const char* b, size_t n)
{
    const auto same_word = [&](size_t i) {
        uint64_t x = 0;
        uint64_t y = 0;
        std::memcpy(&x, a + i, sizeof x);
        std::memcpy(&y, b + i, sizeof y);
        return x == y;
    };
    for (size_t i = 8; n > i + 8; i += 8) {
        if (!same_word(i)) {
            return false;
        }
    }
    return n <= 8 || same_word(n - 8);
}

bool is_ascii(std::string_view text)
{
    uint64_t all = 0;
    size_t i = 0;
    for (; i + 8 <= text.size(); i += 8) {
        uint64_t word = 0;
        std::memcpy(&word, text.data() + i, sizeof word);
        all |= word;
    }
    for (; i < text.size(); ++i) {
        all |= static_cast<uint8_t>(text[i]);
    }
    return (all & 0x8080808080808080u) == 0;
}

bool equal_folded(std::string_view a, std::string_view b)
{
    if (a.size() != b.size()) {
        return false;
    }
    for (size_t i = 0; i < a.size(); ++i) {
        if (ascii_lower(a[i]) != ascii_lower(b[i])) {
            return false;
        }
    }
    return true;
}

} // namespace

// A name that was read byte by byte, so that there may be escapes in it.
void json_scanner::key_ended(const run& r)
{
    std::string_view name(text_, text_size_);
    bool odd = folded_; // it had lone surrogates
    const size_t nul = strict_ ? name.find('\0') : std::string_view::npos;
    if (nul != std::string_view::npos) {
        name = name.substr(0, nul);
        truncated_ = false;
        odd = true;
    }
    match_key(r, name);
    folded_ |= odd;
}

// One of the names that may be a child's by json_name_mark.
uint8_t json_scanner::child_of(const run& r, std::string_view name)
{
    const uint64_t head = head_of(name);
    bool any_case = false;
    for (uint8_t i = r.paths[container_].slots[json_name_slot(name)]; i != 0; i = r.paths[i].next) {
        const json_path& child = r.paths[i];
        if (child.head == head && child.name.size() == name.size()
            && same_tail(child.name.data(), name.data(), name.size())) {
            return i;
        }
        any_case |= child.any_case;
    }
    return any_case ? folded_child_of(r, name) : no_path;
}

uint8_t json_scanner::folded_child_of(const run& r, std::string_view name)
{
    const json_path* const first = r.paths + r.paths[container_].first_child;
    const json_path* const last = first + r.paths[container_].children;
    const json_path* const child = std::find_if(
        first, last, [&](const json_path& c) { return c.any_case && equal_folded(c.name, name); });
    folded_ = child != last;
    return folded_ ? static_cast<uint8_t>(child - r.paths) : no_path;
}

// The path of a name that is none's, but becomes one's where case is folded as Unicode has it: U+017F is a
// small s then, and U+212A a small k.
uint8_t json_scanner::lookalike_of(const run& r, std::string_view name)
{
    if (is_ascii(name) || name.size() > max_text) {
        return no_path;
    }
    char folded[max_text];
    size_t size = 0;
    for (size_t i = 0; i < name.size(); ++i) {
        const std::string_view rest = name.substr(i);
        const std::string_view letter = rest.starts_with("\u017f") ? "\u017f" : "\u212a";
        if (rest.starts_with(letter)) {
            folded[size++] = letter.size() == 2 ? 's' : 'k';
            i += letter.size() - 1;
        } else {
            folded[size++] = name[i];
        }
    }
    return folded_child_of(r, {folded, size});
}

} // namespace llm
