#include "event_usage.h"

#include "plain_usage.h"

#include <cstring>

namespace llm {

namespace {

// Of the largest index that usage_reader takes as it is.
constexpr uint32_t max_index = 1u << 20;

const char* find_byte(const char* p, char c, const char* end)
{
    return static_cast<const char*>(std::memchr(p, c, static_cast<size_t>(end - p)));
}

// The comma in front of a member's name; nullptr: there is none.
const char* comma_before(const char* name)
{
    do {
        --name;
    } while (*name == ' ');
    return *name == ',' ? name : nullptr;
}

// The end of the event whose top ends with what comes next; nullptr where that is not sure.
const char* event_end(plain_members& members, const char* end)
{
    if (!take_rest(members)) {
        return nullptr;
    }
    const char* const p = members.at();
    return end - p >= 2 && p[0] == '\n' && p[1] == '\n' ? p + 2 : nullptr;
}

// The first bracket within the event at `begin`, in front of its text, if that begins the list of its
// choices.
const char* choices_before(const char* begin, const char* text)
{
    constexpr std::string_view name = "\"choices\"";
    const char* const bracket = find_bracket(begin + 7, text, text);
    if (bracket == text) {
        return nullptr;
    }
    const char* p = bracket;
    do {
        --p;
    } while (*p == ' ');
    const bool is_it = *p == ':' && p - begin > static_cast<ptrdiff_t>(name.size())
                       && std::memcmp(p - name.size(), name.data(), name.size()) == 0;
    return is_it && *bracket == '[' ? bracket : nullptr;
}

// Whether a member `index` in [p, end) has another value than this.
bool has_other_index(const char* p, const char* end, uint32_t index)
{
    constexpr std::string_view front = "\"inde";
    // Hardly any other name has this letter.
    while ((p = find_byte(p, 'x', end)) != nullptr) {
        const bool is_it = std::memcmp(p - front.size(), front.data(), front.size()) == 0;
        plain_members members(++p, end, false);
        uint32_t value = 0;
        if (is_it && members.take('"') && members.take(':')
            && (!members.take_count(value) || value != index)) {
            return true;
        }
    }
    return false;
}

// Takes the brackets from p on up to `end`, or to the one behind which none is open. Returns that place;
// nullptr: they are not balanced.
const char* take_brackets(open_brackets& open, const char* p, const char* end, const char* last)
{
    for (; (p = find_bracket(p, end, last)) != end; ++p) {
        if (!open.take(*p)) {
            return nullptr;
        }
        if (open.closed()) {
            return p;
        }
    }
    return end;
}

// Whether the text stands in the event's only choice, and what that choice's index is. `comma`: in front of
// the event's usage. `end` is the event's.
bool read_choice(const char* begin, const text_place::found& text, const char* comma, const char* end,
                 uint32_t& index)
{
    const char* const list = choices_before(begin, text.begin);
    if (list == nullptr) {
        return false;
    }
    plain_members front(list + 1, end, false);
    if (!front.take('{')) {
        return false;
    }
    const char* const choice = front.at();
    index = 0;
    if (front.take_text("\"index\":") && (!front.take_count(index) || index > max_index)) {
        return false;
    }
    open_brackets open(true);
    if (take_brackets(open, choice, text.begin, end) != text.begin) {
        return false;
    }
    const char* const choice_end = take_brackets(open, text.end + 1, comma, end);
    if (choice_end == nullptr || choice_end == comma || has_other_index(front.at(), choice_end, index)) {
        return false;
    }
    plain_members rest(choice_end + 1, end, false);
    if (!rest.take(']')) {
        return false;
    }
    while (rest.at() < comma) {
        if (!rest.take(',') || !take_silent_member(rest)) {
            return false;
        }
    }
    return rest.at() == comma;
}

} // namespace

void read_event_usage(const char* begin, const char* name, const char* end, const text_place::found& text,
                      event_usage& event)
{
    const char* const comma = comma_before(name);
    plain_members members(name + 7, end, false);
    if (comma == nullptr || !members.take(':')) {
        return;
    }
    const char* value_end = members.at() + 4;
    if (members.take_null()) {
        event.is = event_usage::kind::null;
    } else if (take_usage(members, event.fields)) {
        event.is = event_usage::kind::counts;
        for (value_end = members.at(); value_end[-1] != '}';) {
            --value_end;
        }
    } else {
        return;
    }
    const char* const after = event_end(members, end);
    if (after == nullptr
        || (event.is == event_usage::kind::counts
            && !read_choice(begin, text, comma, after, event.choice_index))) {
        return;
    }
    event.size = static_cast<size_t>(after - begin);
    event.erase_begin = static_cast<size_t>(comma - begin);
    event.erase_end = static_cast<size_t>(value_end - begin);
}

const char* read_null_usage(const char* begin, const char* name, const char* end, size_t& erase_begin,
                            size_t& erase_end)
{
    const char* const comma = comma_before(name);
    plain_members members(name + 7, end, false);
    if (comma == nullptr || !members.take(':')) {
        return nullptr;
    }
    const char* const value_end = members.at() + 4;
    if (!members.take_null()) {
        return nullptr;
    }
    erase_begin = static_cast<size_t>(comma - begin);
    erase_end = static_cast<size_t>(value_end - begin);
    return event_end(members, end);
}

} // namespace llm
