#include "event_pattern.h"

#include "bytes.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

constexpr std::string_view front = "data: {";
constexpr std::string_view back = "}\n\n";
constexpr size_t max_digits = 9;

// Strings that may differ. They count by being empty or not at most, at whatever place they stand.
constexpr std::string_view text_names[] = {
    "content", "text",  "reasoning_content", "reasoning",          "arguments",
    "id",      "model", "obfuscation",       "system_fingerprint",
};

// Names that say something in chunks beside usage and choices, where they are not null.
constexpr std::string_view telling_names[] = {
    "error",
    "timings",
    "details",
    "meta_info",
    "tokens_evaluated",
    "tokens_predicted",
    "prompt_eval_count",
    "eval_count",
};

bool is_one_of(std::string_view name, const auto& names)
{
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool is_hex(char c)
{
    const char l = ascii_lower(c);
    return is_digit(c) || (l >= 'a' && l <= 'f');
}

template <typename Word>
bool same_word(const char* a, const char* b)
{
    Word x;
    Word y;
    std::memcpy(&x, a, sizeof x);
    std::memcpy(&y, b, sizeof y);
    return x == y;
}

template <typename Word>
bool same_ends(const char* a, const char* b, size_t n)
{
    const size_t last = n - sizeof(Word);
    return same_word<Word>(a, b) && same_word<Word>(a + last, b + last);
}

// Faster than a call of memcmp for the few bytes between two spots.
bool same(const char* a, const char* b, size_t n)
{
    if (n >= 16) {
#if defined(__SSE2__)
        const auto differ = [&](size_t i) {
            const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i));
            const __m128i y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i));
            return _mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) != 0xffff;
        };
        for (size_t i = 0; i + 16 < n; i += 16) {
            if (differ(i)) {
                return false;
            }
        }
        return !differ(n - 16);
#else
        return std::memcmp(a, b, n) == 0;
#endif
    }
    if (n >= 8) {
        return same_ends<uint64_t>(a, b, n);
    }
    if (n >= 4) {
        return same_ends<uint32_t>(a, b, n);
    }
    return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

// The quote that ends the string p lies in; nullptr where the string is not valid, or goes on behind `end`.
const char* string_end(const char* p, const char* end)
{
    for (;;) {
        p = find_string_stop(p, end);
        if (p == end || *p == '"') {
            return p == end ? nullptr : p;
        }
        if (*p != '\\' || end - p < 2) {
            return nullptr;
        }
        if (p[1] == 'u') {
            if (end - p < 6 || !std::all_of(p + 2, p + 6, is_hex)) {
                return nullptr;
            }
            p += 6;
        } else if (std::string_view("\"\\/bfnrt").find(p[1]) != std::string_view::npos) {
            p += 2;
        } else {
            return nullptr;
        }
    }
}

// The digits of a whole number from p on; 0 where there is none, or a large one.
size_t number_size(const char* p, const char* end)
{
    size_t n = 0;
    while (p + n != end && is_digit(p[n])) {
        ++n;
    }
    return n > max_digits || (n > 1 && *p == '0') ? 0 : n;
}

// `count`: no field of usage.
usage_field field_of(std::string_view name)
{
    return name == "prompt_tokens"       ? usage_field::prompt
           : name == "completion_tokens" ? usage_field::completion
           : name == "total_tokens"      ? usage_field::total
                                         : usage_field::count;
}

} // namespace

bool event_pattern::match(std::string_view piece, found& event) const
{
    const text_pattern& like = patterns_[current_];
    const char* const begin = piece.data();
    const char* const end = begin + piece.size();
    const char* p = begin;
    const char* t = like.text;
    if (like.size == 0) {
        return false;
    }

    event.facts = &like.facts;
    event.has_usage = !like.usage_is_null;
    if (event.has_usage) {
        event.usage = like.facts.usage;
    }
    for (const spot* s = like.at;; ++s) {
        const size_t moved = static_cast<size_t>(p - begin) - static_cast<size_t>(t - like.text);
        if (s == like.at + like.spots_before_cut) {
            event.cut_begin = like.cut_begin + moved;
        }
        if (s == like.at + like.spots_before_cut_end) {
            event.cut_end = like.cut_end + moved;
        }
        const bool last = s == like.at + like.spots;
        const size_t fixed = static_cast<size_t>(like.text + (last ? like.size : s->begin) - t);
        if (static_cast<size_t>(end - p) < fixed || !same(p, t, fixed)) {
            return false;
        }
        if (last) {
            event.size = like.size + moved;
            return true;
        }
        p += fixed;
        t = like.text + s->end;
        if (s->is_text) {
            const char* const from = p;
            p = find_string_stop(p, end);
            if (p == end || (*p != '"' && (p = string_end(p, end)) == nullptr) || p == from) {
                return false;
            }
        } else {
            const char* const from = p;
            uint32_t value = 0;
            for (; p != end && is_digit(*p); ++p) {
                value = value * 10 + static_cast<uint32_t>(*p - '0');
            }
            const size_t digits = static_cast<size_t>(p - from);
            if (digits == 0 || digits > max_digits || (digits > 1 && *from == '0')) {
                return false;
            }
            if (s->field != usage_field::count) {
                event.usage.put(s->field, value);
            }
        }
    }
}

bool event_pattern::draft(std::string_view piece)
{
    text_pattern& to = patterns_[1 - current_];
    to.size = 0;
    if (!piece.starts_with(front)) {
        return false;
    }
    const std::string_view most = piece.substr(0, max_size);
    const size_t line = most.find('\n');
    if (line == std::string_view::npos || !most.substr(line - 1).starts_with(back)) {
        return false;
    }
    to.size = static_cast<uint16_t>(line + 2);
    std::memcpy(to.text, most.data(), to.size);
    return true;
}

void event_pattern::learn(const chunk_facts& facts)
{
    text_pattern& from = patterns_[1 - current_];
    if (from.size == 0 || facts.choices == 0 || !from.find_spots()) {
        return;
    }
    from.facts = facts;
    if (from.usage_is_null) {
        from.facts.usage = {};
    }
    for (size_t i = 0; i < from.spots; ++i) {
        if (from.at[i].is_text) {
            std::memset(from.text + from.at[i].begin, 0,
                        static_cast<size_t>(from.at[i].end - from.at[i].begin));
        }
    }
    current_ ^= 1;
}

// False if the event has not the usual form: one member `usage`, at the top and not its first, and nothing
// beside that and the choices that says something.
bool event_pattern::text_pattern::find_spots()
{
    const char* const end = text + size - 2;
    spots = 0;
    cut_begin = 0;
    cut_end = 0;
    fields = 0;
    usage_is_null = false;
    bool has_usage = false;
    size_t depth = 0;
    size_t comma = 0; // the last one at the top
    for (const char* p = text + front.size() - 1; p != end;) {
        const char c = *p;
        if (c == '{' || c == '[') {
            ++depth;
        } else if (c == '}' || c == ']') {
            --depth;
            if (depth == 1 && has_usage && cut_end == 0) {
                cut_end = static_cast<uint16_t>(p + 1 - text);
                spots_before_cut_end = spots;
            }
        } else if (c == ',' && depth == 1) {
            comma = static_cast<size_t>(p - text);
        } else if (c == '\r' || c == '\\') {
            return false;
        }
        if (c != '"') {
            ++p;
            continue;
        }

        const char* const stop = string_end(p + 1, end);
        if (stop == nullptr) {
            return false;
        }
        const std::string_view name(p + 1, static_cast<size_t>(stop - p - 1));
        p = stop + 1;
        const auto pass_space = [&] {
            while (p != end && (*p == ' ' || *p == '\t')) {
                ++p;
            }
        };
        pass_space();
        if (*p != ':') {
            continue;
        }
        ++p;
        pass_space();
        const size_t value = static_cast<size_t>(p - text);
        const bool is_null = std::string_view(p, static_cast<size_t>(end - p)).starts_with("null");
        if (name.find('\\') != std::string_view::npos || (is_one_of(name, telling_names) && !is_null)
            || (name == "type" && depth == 1)) {
            return false;
        }
        if (name == "usage") {
            if (has_usage || depth != 1 || comma == 0 || (*p != '{' && !is_null)) {
                return false;
            }
            has_usage = true;
            cut_begin = static_cast<uint16_t>(comma);
            cut_end = static_cast<uint16_t>(is_null ? value + 4 : 0);
            usage_is_null = is_null;
            spots_before_cut = spots_before_cut_end = spots;
        } else if (depth == 2 && has_usage && cut_end == 0 && field_of(name) != usage_field::count) {
            if (!add_count(field_of(name), value)) {
                return false;
            }
        } else if (*p == '"') {
            const char* const text_end = string_end(p + 1, end);
            if (text_end == nullptr) {
                return false;
            }
            const spot inside{static_cast<uint16_t>(value + 1), static_cast<uint16_t>(text_end - text), true,
                              usage_field::count};
            if (is_one_of(name, text_names) && inside.begin != inside.end && !add_spot(inside)) {
                return false;
            }
            p = text_end + 1;
        } else if (name == "created" && !add_number(usage_field::count, value)) {
            return false;
        }
    }
    return has_usage && cut_end != 0;
}

// A count of the usage object. Of two with one name the last would be valid.
bool event_pattern::text_pattern::add_count(usage_field field, size_t value)
{
    const auto bit = static_cast<uint16_t>(1u << static_cast<unsigned>(field));
    if ((fields & bit) != 0) {
        return false;
    }
    fields |= bit;
    return add_number(field, value);
}

// False only where there is no room: what is no plain number stays as it is.
bool event_pattern::text_pattern::add_number(usage_field field, size_t value)
{
    const size_t digits = number_size(text + value, text + size - 2);
    const char next = text[value + digits];
    if (digits == 0 || (next != ',' && next != '}' && next != ' ')) {
        return true;
    }
    return add_spot({static_cast<uint16_t>(value), static_cast<uint16_t>(value + digits), false, field});
}

bool event_pattern::text_pattern::add_spot(const spot& s)
{
    if (spots == max_spots) {
        return false;
    }
    at[spots++] = s;
    return true;
}

} // namespace llm
