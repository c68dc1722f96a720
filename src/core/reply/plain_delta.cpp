#include "plain_delta.h"

#include "core/api/api_table.h"
#include "plain_members.h"

#include <cstring>
#include <utility>

namespace llm {

namespace {

// A name and its colon, of members beside the text: each has a string or a number.
bool take_silent_name(plain_members& members)
{
    return members.take_text("\"sequence_number\":") || members.take_text("\"item_id\":")
           || members.take_text("\"output_index\":") || members.take_text("\"content_index\":")
           || members.take_text("\"index\":") || members.take_text("\"obfuscation\":")
           || members.take_text("\"summary_index\":") || members.take_text("\"response_id\":");
}

// Anthropic's `delta`: the kind of text, and the text.
bool take_delta(plain_members& members, plain_delta& event)
{
    std::string_view type;
    if (!members.take('{') || !members.take_text("\"type\":") || !members.take_string(type)
        || !members.take(',')) {
        return false;
    }
    event.is_thought = members.take_text("\"thinking\":");
    return (event.is_thought || members.take_text("\"text\":") || members.take_text("\"partial_json\":"))
           && members.take_string_size(event.text) && members.take('}');
}

bool take_member(plain_members& members, plain_delta& event, bool& has_delta)
{
    std::string_view text;
    if (take_silent_name(members)) {
        return members.next() == '"' ? members.take_string(text) : members.take_other_scalar();
    }
    if (members.take_text("\"delta\":")) {
        return !std::exchange(has_delta, true)
               && (members.next() == '{' ? take_delta(members, event) : members.take_string_size(event.text));
    }
    return members.take_text("\"logprobs\":")
           && (members.take_null() || (members.take('[') && members.take(']')));
}

} // namespace

const std::string_view* delta_head(std::string_view events)
{
    if (!events.starts_with('e')) {
        return nullptr;
    }
    for (const api_row& row : api_rows()) {
        for (const std::string_view& head : row.delta_heads) {
            if (events.starts_with(head)) {
                return &head;
            }
        }
    }
    return nullptr;
}

plain_delta read_plain_delta(std::string_view events, std::string_view head)
{
    if (events.size() <= head.size() || std::memcmp(events.data(), head.data(), head.size()) != 0) {
        return {};
    }
    plain_delta event;
    const char* const end = events.data() + events.size();
    plain_members members(events.data() + head.size(), end, false);
    bool has_delta = false;
    do {
        if (!take_member(members, event, has_delta)) {
            return {};
        }
    } while (members.take(','));
    const bool ended = has_delta && members.take('}') && end - members.at() >= 2 && members.at()[0] == '\n'
                       && members.at()[1] == '\n';
    event.size = ended ? static_cast<size_t>(members.at() + 2 - events.data()) : 0;
    return event;
}

} // namespace llm
