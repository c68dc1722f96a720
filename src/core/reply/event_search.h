// What event_skip looks for in events: each search is shown the bytes that may be significant, and says when
// one is. Internal to it.
#pragma once

#include "event_usage.h"
#include "text_place.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm::detail {

inline constexpr std::string_view usage_member = "\"usage\"";
inline constexpr std::string_view event_front = "data: {";
inline constexpr std::string_view null_end = ",\"usage\":null}\n\n"; // of most events with such a usage

inline bool starts(const char* p, const char* end, std::string_view text)
{
    return static_cast<size_t>(end - p) >= text.size() && std::memcmp(p, text.data(), text.size()) == 0;
}

inline bool ends(const char* p, const char* end, std::string_view text)
{
    return static_cast<size_t>(end - p) >= text.size()
           && std::memcmp(end - text.size(), text.data(), text.size()) == 0;
}

inline bool is_null_member(const char* p, const char* end)
{
    return starts(p, end, ":null") || starts(p, end, ": null");
}

// Whether the line at p is the field `error`, names the event so, or has [DONE] as its data.
inline bool is_significant_line(const char* p, const char* end)
{
    constexpr std::string_view name = "error";
    if (starts(p, end, event_front)) {
        return false; // nearly all, at once
    }
    if (starts(p, end, name)) {
        p += name.size();
        return p == end || *p == ':' || *p == '\n';
    }
    return starts(p, end, "data:[DONE]") || starts(p, end, "data: [DONE]") || starts(p, end, "event:error")
           || starts(p, end, "event: error");
}

// Whether the quote at p begins a name that has to be read.
inline bool is_significant_name(const char* p, const char* end, bool null_tells)
{
    if (starts(p, end, usage_member)) {
        return null_tells || !is_null_member(p + 7, end);
    }
    return (starts(p, end, "\"error\"") && !is_null_member(p + 7, end)) || starts(p, end, "\"timings\"")
           || starts(p, end, "\"usageMetadata\"");
}

// Whether the byte at p begins something that has to be read. Names can be spelled with \u00XX for their
// letters, which are all from \u0061 on.
inline bool is_significant(const char* p, const char* end, bool null_tells)
{
    switch (*p) {
    case '\r':
        return true;
    case '"':
        return is_significant_name(p, end, null_tells);
    case '\\':
        return starts(p, end, "\\u006") || starts(p, end, "\\u007");
    case '\n':
        return is_significant_line(p + 1, end);
    default:
        return false;
    }
}

// What was found in events up to some byte.
class events_search {
public:
    events_search(std::string_view events, bool null_tells, const text_place& place, text_size& text)
        : border_(events.data()), end_(events.data() + events.size()), null_tells_(null_tells), place_(place),
          text_(text)
    {
        begin_event();
    }

    // Whether the byte at p tells, or begins an event that does. May be asked again of the last bytes.
    bool look(const char* p)
    {
        if (*p == '\n' && p[1] == '\n') {
            if (p + 2 > border_) {
                end_event(p + 2);
            }
            return told_;
        }
        told_ = told_ || (*p == '\n' && p > shown_.begin) || is_significant(p, end_, null_tells_);
        return told_;
    }
    bool told() const { return told_; }
    // Where the event begins that has to be read.
    const char* border() const { return border_; }
    // Nothing tells up to the end. Returns how far whole events go.
    const char* finish()
    {
        if (end_[-1] == '\n' && end_[-2] == '\n') {
            end_event(end_);
        }
        return border_;
    }

private:
    void begin_event()
    {
        shown_ = place_.measure(border_, end_);
        told_ = shown_.size == 0 || place_.past_name(border_, end_) == nullptr;
    }
    void end_event(const char* border)
    {
        told_ = !place_.has_all(shown_, border_, border);
        if (told_) {
            return;
        }
        text_.add({shown_.size, 1});
        border_ = border;
        if (border_ != end_) {
            begin_event();
        }
    }

    const char* border_; // the last one between events
    const char* end_;
    bool null_tells_;
    bool told_ = false;
    text_place::found shown_; // of the event
    const text_place& place_;
    text_size& text_;
};

// What tells in a single event.
struct event_search {
    const char* end;
    bool null_tells;
    bool one_line; // another line tells

    bool look(const char* p) const
    {
        return (*p == '\n' && (one_line || p[1] == '\n')) || is_significant(p, end, null_tells);
    }
};

// What the event at the front of others says by its usage.
class usage_search {
public:
    usage_search(const char* begin, const char* end, const text_place::found& shown, event_usage& event)
        : begin_(begin), end_(end), shown_(shown), event_(event)
    {
    }

    bool look(const char* p) const
    {
        if (*p == '\n') {
            event_.size = p[1] == '\n' ? static_cast<size_t>(p + 2 - begin_) : 0;
            return true;
        }
        if (starts(p, end_, usage_member)) {
            read_event_usage(begin_, p, end_, shown_, event_);
            return true;
        }
        return is_significant(p, end_, true);
    }

private:
    const char* begin_;
    const char* end_;
    const text_place::found& shown_;
    event_usage& event_;
};

// What tells in text that is no stream of events.
struct text_search {
    const char* end;
    const char* found = end;

    bool look(const char* p)
    {
        if (*p == '\n' || *p == '\r' || !is_significant(p, end, true)) {
            return false;
        }
        found = p;
        return true;
    }
};

} // namespace llm::detail
