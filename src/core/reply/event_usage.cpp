#include "event_usage.h"

#include "plain_usage.h"

#include <cstring>

namespace llm {

namespace {

// Of the largest index that usage_reader takes as it is.
constexpr uint32_t max_index = 1u << 20;

// The end of the event whose top ends with what comes next; nullptr where that is not sure.
const char* event_end(plain_members& members, const char* end)
{
    if (!take_rest(members)) {
        return nullptr;
    }
    const char* const p = members.at();
    return end - p >= 2 && p[0] == '\n' && p[1] == '\n' ? p + 2 : nullptr;
}

// Whether a member `index` in [p, end) has another value than this.
bool has_other_index(const char* p, const char* end, uint32_t index)
{
    constexpr std::string_view front = "\"inde";
    // Hardly any other name has this letter.
    while ((p = static_cast<const char*>(std::memchr(p, 'x', static_cast<size_t>(end - p)))) != nullptr) {
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
[[gnu::always_inline]] inline const char* take_brackets(open_brackets& open, const char* p, const char* end,
                                                        const char* last)
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
// the event's usage, which is of the event's top: so the list of choices is, if it is followed by no more
// than members of the same object.
bool read_choice(const char* begin, const text_place::found& text, const char* comma, const char* end,
                 uint32_t& index)
{
    const char* const object = find_objects(begin + 7, text.begin, "choices");
    if (object == nullptr) {
        return false;
    }
    plain_members front(object + 1, end, false);
    index = 0;
    if (front.take_text("\"index\":") && (!front.take_count(index) || index > max_index)) {
        return false;
    }
    open_brackets open(true);
    if (take_brackets(open, object + 1, text.begin, end) != text.begin) {
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
    const char* const comma = last_before(begin, name);
    plain_members members(name + 7, end, false);
    if (*comma != ',' || !members.take(':')) {
        return;
    }
    usage_fields fields;
    const char* value_end = members.at() + 4;
    if (members.take_null()) {
        event.is = event_usage::kind::null;
    } else if (take_usage(members, fields)) {
        event.is = event_usage::kind::counts;
        event.counts = fields.counts();
        for (value_end = members.at(); value_end[-1] != '}';) {
            --value_end;
        }
    } else {
        return;
    }
    const char* const after = event_end(members, end);
    if (after == nullptr
        || (event.is == event_usage::kind::counts
            && !(event.counts.any() && read_choice(begin, text, comma, after, event.choice_index)))) {
        return;
    }
    event.size = static_cast<size_t>(after - begin);
    event.erase_begin = static_cast<size_t>(comma - begin);
    event.erase_end = static_cast<size_t>(value_end - begin);
}

} // namespace llm
