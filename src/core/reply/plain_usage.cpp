#include "plain_usage.h"

#include "usage_paths.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

// Whether the bytes at p, of which there are so many, begin with these.
template <size_t N>
bool starts(const char* p, size_t size, const char (&text)[N])
{
    return size >= N && __builtin_memcmp(p, text, N - 1) == 0;
}

// A count of no more than max_digits, and the byte behind it, which ends it. Returns what is behind that;
// nullptr where it is none. The text does not end with a digit.
const char* pass_count(const char* p, uint32_t& count)
{
    const char* const begin = p;
    uint32_t sum = 0;
    for (; is_digit(*p); ++p) {
        sum = sum * 10 + static_cast<uint32_t>(*p - '0');
    }
    count = sum;
    const ptrdiff_t digits = p - begin;
    const bool is_count =
        digits != 0 && digits <= plain_members::max_digits && (digits == 1 || *begin != '0');
    return is_count && (*p == ',' || *p == '}') ? p + 1 : nullptr;
}

// Passes over the members at p that are the usual counts, and the null of vLLM, without blanks, each with
// what stands behind it. Returns whether that ends the object.
bool pass_usual_counts(const char*& p, const char* end, usage_fields& fields)
{
    if (is_digit(end[-1])) {
        return false;
    }
    for (;;) {
        const auto room = static_cast<size_t>(end - p);
        const char* q = nullptr;
        uint32_t count = 0;
        usage_field field = usage_field::count;
        if (starts(p, room, "\"prompt_tokens\":")) {
            field = usage_field::prompt;
            q = pass_count(p + 16, count);
        } else if (starts(p, room, "\"completion_tokens\":")) {
            field = usage_field::completion;
            q = pass_count(p + 20, count);
        } else if (starts(p, room, "\"total_tokens\":")) {
            field = usage_field::total;
            q = pass_count(p + 15, count);
        } else if (starts(p, room, "\"prompt_tokens_details\":null}")) {
            p += 29;
            return true;
        }
        if (q == nullptr) {
            return false;
        }
        fields.put(field, count);
        p = q;
        if (q[-1] == '}') {
            return true;
        }
    }
}

// The object that comes next, behind its first bracket and whole members. `path` 0: nothing is known in it.
bool take_fields(plain_members& members, uint8_t path, usage_fields& fields)
{
    do {
        std::string_view text;
        if (!members.take_name(text)) {
            return false;
        }
        const uint8_t at = path != 0 ? child_path(event_paths.paths.data(), path, text) : uint8_t{0};
        const usage_field field = event_paths.marks[at].field;
        const bool is_count = field != usage_field::count;
        const char next = members.next();
        bool taken = false;
        if (is_count && is_digit(next)) {
            uint32_t count = 0;
            taken = members.take_count(count);
            fields.put(field, count);
        } else if (next == '{') {
            taken = path == event_usage_path && members.take('{')
                    && (members.take('}') || take_fields(members, at, fields));
        } else if (next == 'n') {
            taken = members.take_null();
        } else if (!is_count) {
            taken = next == '"' ? members.take_string(text) : members.take_other_scalar();
        }
        if (!taken) {
            return false;
        }
    } while (members.take(','));
    return members.take('}');
}

// Those that have a string or number and say nothing by it, wherever they stand in a reply of whatever API.
constexpr std::string_view silent_names[] = {
    "obfuscation", "id", "model", "created", "service_tier", "system_fingerprint", "object", "provider",
};

} // namespace

const char* last_before(const char* begin, const char* p)
{
    do {
        --p;
    } while (p != begin && is_space(*p));
    return p;
}

const char* find_objects(const char* begin, const char* end, std::string_view name)
{
    const auto find = [begin](char bracket, const char* in_front_of) {
        return static_cast<const char*>(
            std::memchr(begin, bracket, static_cast<size_t>(in_front_of - begin)));
    };
    const char* const list = find('[', end);
    if (list == nullptr || list == begin || find('{', list) != nullptr) {
        return nullptr;
    }
    const char* const colon = last_before(begin, list);
    const char* const quote = colon != begin ? last_before(begin, colon) : begin;
    const auto size = static_cast<ptrdiff_t>(name.size());
    const bool has_name = *colon == ':' && *quote == '"' && quote - begin > size && quote[-size - 1] == '"'
                          && std::memcmp(quote - size, name.data(), name.size()) == 0;
    plain_members members(list + 1, end, true);
    return has_name && members.next() == '{' ? members.at() : nullptr;
}

bool take_usage(plain_members& members, usage_fields& fields)
{
    if (!members.take('{')) {
        return false;
    }
    const char* p = members.at();
    const bool ended = pass_usual_counts(p, members.end(), fields);
    const bool is_first = p == members.at();
    members.go_on_at(p);
    return ended || (is_first && members.take('}')) || take_fields(members, event_usage_path, fields);
}

bool take_silent_member(plain_members& members)
{
    std::string_view name;
    std::string_view text;
    if (!members.take_name(name) || name == "usage" || name == "choices") {
        return false;
    }
    if (members.take_null()) {
        return true;
    }
    if (std::find(std::begin(silent_names), std::end(silent_names), name) == std::end(silent_names)) {
        return false;
    }
    return members.next() == '"' ? members.take_string(text) && text != "error" : members.take_other_scalar();
}

bool take_rest(plain_members& members)
{
    while (members.take(',')) {
        if (!take_silent_member(members)) {
            return false;
        }
    }
    return members.take('}');
}

} // namespace llm
