#include "reply_pattern.h"

#include "core/base/chars.h"

namespace llm {

namespace {

// Where many replies are like none of the patterns, new ones are learned rarely, and where most are, looking
// for one is in vain.
constexpr uint8_t misses_to_learn_less = 16;
constexpr uint8_t misses_to_look_less = 64;
constexpr uint8_t most_misses = 80;
} // namespace

bool reply_patterns::match(std::string_view piece, found& reply)
{
    ++replies_;
    if (misses_ >= misses_to_look_less && replies_ % 16 != 0) {
        return false;
    }
    for (size_t i = 0; i < max_patterns; ++i) {
        const size_t at = (last_ + i) % max_patterns;
        reply.usage = {};
        reply.size = patterns_[at].match(piece, reply.usage, [](size_t, size_t) {});
        if (reply.size != 0) {
            reply.generates = patterns_[at].generates;
            last_ = static_cast<uint8_t>(at);
            misses_ = static_cast<uint8_t>(misses_ - (misses_ != 0 ? 1 : 0));
            return true;
        }
    }
    misses_ = static_cast<uint8_t>(misses_ + (misses_ != most_misses ? 1 : 0));
    return false;
}

void reply_patterns::learn(std::string_view reply, std::span<const reply_count> counts, bool generates)
{
    if (misses_ >= misses_to_learn_less && replies_ % 16 != 0) {
        return;
    }
    const auto next = static_cast<uint8_t>((last_ + max_patterns - 1) % max_patterns);
    if (!patterns_[next].take(reply, counts)) {
        patterns_[next].wipe();
        return;
    }
    patterns_[next].generates = generates;
    last_ = next;
}

bool reply_patterns::pattern::take(std::string_view reply, std::span<const reply_count> counts)
{
    const char* const begin = reply.data();
    const char* const end = begin + reply.size();
    const char* p = begin;
    const char* kept = begin; // the text in front of it is in the pattern
    const auto keep_up_to = [&](const char* to) {
        const auto n = static_cast<size_t>(to - kept);
        if (n > max_size - size) {
            return false;
        }
        std::memcpy(text + size, kept, n);
        size = static_cast<uint16_t>(size + n);
        kept = to;
        return true;
    };
    // From p on.
    const auto pass_slot = [&](const char* slot_end, bool is_text, usage_field field) {
        if (!keep_up_to(p) || !add_slot({size, size, is_text, field})) {
            return false;
        }
        p = kept = slot_end;
        return true;
    };
    const auto pass_space = [&] {
        while (p != end && is_space(*p)) {
            ++p;
        }
    };

    size = 0;
    slots = 0;
    while (p != end) {
        if (!counts.empty() && p == begin + counts.front().begin) {
            const char* const number_end = begin + counts.front().end;
            if (p + plain_number_size(p, end, counts.front().field) != number_end
                || !pass_slot(number_end, false, counts.front().field)) {
                return false;
            }
            counts = counts.subspan(1);
            continue;
        }
        if (*p != '"') {
            ++p;
            continue;
        }

        const char* const stop = string_end(p + 1, end);
        if (stop == nullptr || stop - kept > static_cast<ptrdiff_t>(max_size)) {
            return false;
        }
        const std::string_view name(p + 1, static_cast<size_t>(stop - p - 1));
        p = stop + 1;
        pass_space();
        if (p == end || *p != ':') {
            if (!name.empty()) {
                return false; // an element of an array
            }
            continue;
        }
        ++p;
        pass_space();
        if (name == "created") {
            const size_t digits = plain_number_size(p, end, usage_field::count);
            if (digits != 0 && !pass_slot(p + digits, false, usage_field::count)) {
                return false;
            }
        } else if (p != end && *p == '"') {
            const char* const text_end = string_end(++p, end);
            if (text_end == nullptr
                || (text_end != p
                    && !(may_differ(name) ? pass_slot(text_end, true, usage_field::count)
                                          : is_api_word(name)))) {
                return false;
            }
            p = text_end + 1;
        } else if (p != end && (*p == '{' || *p == '[')
                   && !is_servers_own(name, std::string_view(p, static_cast<size_t>(end - p)))) {
            return false;
        }
    }
    return counts.empty() && keep_up_to(end);
}

} // namespace llm
