#include "plain_reply.h"

#include "event_skip.h"
#include "plain_usage.h"
#include "usage_paths.h"

#include <algorithm>

namespace llm {

namespace {

// The lists at the top of replies whose objects are what was generated: OpenAI's and Anthropic's.
constexpr std::string_view lists[] = {"choices", "content"};

// Takes the members behind usage, and the reply's end. False unless they mean nothing to usage_reader.
bool take_end(plain_members& members)
{
    while (members.take(',')) {
        std::string_view name;
        std::string_view text;
        if (!members.take_name(name)) {
            return false;
        }
        const uint8_t path = child_path(reply_paths.paths.data(), 0, name);
        const bool is_object = path != 0 && reply_paths.marks[path].is == reply_part::object;
        const bool taken = path == 0   ? members.take_value()
                           : is_object ? members.take_string(text) && text != "error"
                                       : name != "usage" && members.take_null();
        if (!taken) {
            return false;
        }
    }
    return members.take('}');
}

} // namespace

bool read_plain_reply(std::string_view piece, usage_fields& usage)
{
    constexpr std::string_view usage_name = "\"usage\"";
    const char* const begin = piece.data();
    const char* const end = begin + piece.size();
    const char* const name = find_telling(begin, end);
    if (static_cast<size_t>(end - name) <= usage_name.size()
        || __builtin_memcmp(name, usage_name.data(), usage_name.size()) != 0) {
        return false;
    }
    const char* const comma = last_before(begin, name);
    plain_members members(name + usage_name.size(), end, true);
    return *comma == ',' && members.take(':') && take_usage(members, usage) && take_end(members)
           && members.at() == end && std::any_of(std::begin(lists), std::end(lists), [&](auto list) {
                  return find_objects(begin + 1, comma, list) != nullptr;
              });
}

} // namespace llm
