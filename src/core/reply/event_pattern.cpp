#include "event_pattern.h"

#include "core/base/bytes.h"
#include "core/json/json_bytes.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

constexpr std::string_view front = "data: {";
constexpr std::string_view back = "}\n\n";

// Names that say something in chunks beside usage and choices, where they are not null.
constexpr std::string_view significant_names[] = {
    "error",
    "timings",
    "details",
    "meta_info",
    "tokens_evaluated",
    "tokens_predicted",
    "prompt_eval_count",
    "eval_count",
};

// `count`: no field of usage.
usage_field field_of(std::string_view name)
{
    const auto* const usual = std::find_if(std::begin(usual_usage), std::end(usual_usage),
                                           [&](const usage_name& u) { return u.name == name; });
    return usual != std::end(usual_usage) ? usual->field : usage_field::count;
}

} // namespace

bool event_pattern::match(std::string_view piece, found& event)
{
    pattern& like = patterns_[current_];
    event.facts = &like.facts;
    event.has_usage = !like.usage_is_null;
    if (event.has_usage) {
        event.usage = like.facts.usage;
    }
    size_t after = 0; // how far slots behind the varying one have moved
    bool in_place = like.varying != like.slots;
    event.size = like.match(piece, event.usage, [&](size_t slot, size_t moved) {
        if (slot == like.slots_before_erase) {
            event.erase_begin = like.erase_begin + moved;
        }
        if (slot == like.slots_before_erase_end) {
            event.erase_end = like.erase_end + moved;
        }
        if (slot == like.varying + 1u) {
            after = moved;
        }
        in_place = in_place && moved == after;
    });
    if (event.size != 0 && in_place) {
        like.see(piece.substr(0, event.size));
    }
    return event.size != 0;
}

size_t event_pattern::match_nulls(std::span<reply_piece> pieces) const
{
    const pattern& like = patterns_[current_];
    if (like.size == 0 || like.varying == like.slots) {
        return 0;
    }
    const size_t front_size = like.at[like.varying].begin;
    const char* const rest = like.text + like.at[like.varying].end;
    const size_t rest_size = static_cast<size_t>(like.text + like.size - rest);
    const bool cut_moves = like.slots_before_erase > like.varying;
    size_t n = 0;
    for (reply_piece& piece : pieces) {
        if (piece.size <= front_size + rest_size || !same_bytes(piece.data, like.text, front_size)) {
            break;
        }
        const char* const begin = piece.data + front_size;
        const char* const end = piece.data + piece.size;
        if (!same_bytes(end - rest_size, rest, rest_size)) {
            break;
        }
        const char* const stop =
            find_string_stop(begin, end); // at the latest at the quote that the rest begins with
        if ((*stop == '"' ? stop : string_end(stop, end)) != end - rest_size) {
            break;
        }
        const size_t moved = cut_moves ? piece.size - like.size : 0; // modulo 2^64
        piece.erase_begin = like.erase_begin + moved;
        piece.erase_end = like.erase_end + moved;
        ++n;
    }
    return n;
}

bool event_pattern::draft(std::string_view piece)
{
    pattern& to = patterns_[1 - current_];
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
    pattern& from = patterns_[1 - current_];
    if (from.size == 0 || facts.choices == 0 || !from.find_slots()) {
        forget();
        return;
    }
    from.find_varying();
    from.facts = facts;
    if (from.usage_is_null) {
        from.facts.usage = {};
    }
    for (size_t i = 0; i < from.slots; ++i) {
        if (from.at[i].is_text && !from.at[i].lasts) {
            std::memset(from.text + from.at[i].begin, 0,
                        static_cast<size_t>(from.at[i].end - from.at[i].begin));
        }
    }
    current_ ^= 1;
}

// False if the event has not the usual form: one member `usage`, at the top and not its first, and nothing
// beside that and the choices that says something. Nor if it has text at a place that is not known: that
// would be kept.
bool event_pattern::pattern::find_slots()
{
    const char* const end = text + size - 2;
    slots = 0;
    erase_begin = 0;
    erase_end = 0;
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
            if (depth == 1 && has_usage && erase_end == 0) {
                erase_end = static_cast<uint16_t>(p + 1 - text);
                slots_before_erase_end = slots;
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
            if (!name.empty()) {
                return false; // an element of an array
            }
            continue;
        }
        ++p;
        pass_space();
        const size_t value = static_cast<size_t>(p - text);
        const bool is_null = std::string_view(p, static_cast<size_t>(end - p)).starts_with("null");
        if (name.find('\\') != std::string_view::npos || (is_one_of(name, significant_names) && !is_null)
            || (name == "type" && depth == 1)
            || ((*p == '{' || *p == '[')
                && !is_servers_own(name, std::string_view(p, static_cast<size_t>(end - p))))) {
            return false;
        }
        if (name == "usage") {
            if (has_usage || depth != 1 || comma == 0 || (*p != '{' && !is_null)) {
                return false;
            }
            has_usage = true;
            erase_begin = static_cast<uint16_t>(comma);
            erase_end = static_cast<uint16_t>(is_null ? value + 4 : 0);
            usage_is_null = is_null;
            slots_before_erase = slots_before_erase_end = slots;
        } else if (depth == 2 && has_usage && erase_end == 0 && field_of(name) != usage_field::count) {
            if (!add_count(field_of(name), value)) {
                return false;
            }
        } else if (*p == '"') {
            const char* const text_end = string_end(p + 1, end);
            if (text_end == nullptr) {
                return false;
            }
            const slot inside{static_cast<uint16_t>(value + 1), static_cast<uint16_t>(text_end - text), true,
                              usage_field::count, lasts(name)};
            if (inside.begin != inside.end && !(may_differ(name) ? add_slot(inside) : is_api_word(name))) {
                return false;
            }
            p = text_end + 1;
        } else if (name == "created" && !add_number(usage_field::count, value)) {
            return false;
        }
    }
    return has_usage && erase_end != 0;
}

void event_pattern::pattern::find_varying()
{
    varying = slots;
    for (uint8_t i = 0; i != slots; ++i) {
        if (!at[i].lasts && (varying != slots || !at[i].is_text || !usage_is_null)) {
            varying = slots;
            return;
        }
        varying = at[i].lasts ? varying : i;
    }
}

// An event that is like the pattern, and all of whose slots but the varying one have the pattern's size.
void event_pattern::pattern::see(std::string_view event)
{
    const size_t longer = event.size() - size; // modulo 2^64
    for (uint8_t i = 0; i != slots; ++i) {
        if (i != varying) {
            const char* const from = event.data() + at[i].begin + (i > varying ? longer : 0);
            std::memcpy(text + at[i].begin, from, static_cast<size_t>(at[i].end - at[i].begin));
        }
    }
}

// A count of the usage object. Of two with one name the last would be valid.
bool event_pattern::pattern::add_count(usage_field field, size_t value)
{
    const auto bit = static_cast<uint16_t>(1u << static_cast<unsigned>(field));
    if ((fields & bit) != 0) {
        return false;
    }
    fields |= bit;
    return add_number(field, value);
}

// False only where there is no room: what is no plain number stays as it is.
bool event_pattern::pattern::add_number(usage_field field, size_t value)
{
    const size_t digits = plain_number_size(text + value, text + size - 2, field);
    if (digits == 0) {
        return true;
    }
    return add_slot({static_cast<uint16_t>(value), static_cast<uint16_t>(value + digits), false, field,
                     field == usage_field::count});
}

} // namespace llm
