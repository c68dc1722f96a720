#include "event_skip.h"

#include "event_blocks.h"

#include <cstring>

namespace llm {

namespace {

bool starts(const char* p, const char* end, std::string_view text)
{
    return static_cast<size_t>(end - p) >= text.size() && std::memcmp(p, text.data(), text.size()) == 0;
}

bool is_null_member(const char* p, const char* end)
{
    return starts(p, end, ":null") || starts(p, end, ": null");
}

// Whether the line at p is the field `error`, names the event so, or has [DONE] as its data.
bool is_significant_line(const char* p, const char* end)
{
    constexpr std::string_view name = "error";
    if (starts(p, end, name)) {
        p += name.size();
        return p == end || *p == ':' || *p == '\n';
    }
    return starts(p, end, "data:[DONE]") || starts(p, end, "data: [DONE]") || starts(p, end, "event:error")
           || starts(p, end, "event: error");
}

// Whether the quote at p begins a name that has to be read.
bool is_significant_name(const char* p, const char* end, bool null_tells)
{
    if (starts(p, end, "\"usage\"")) {
        return null_tells || !is_null_member(p + 7, end);
    }
    return (starts(p, end, "\"error\"") && !is_null_member(p + 7, end)) || starts(p, end, "\"timings\"");
}

// Whether the byte at p begins something that has to be read. Names can be spelled with \u00XX for their
// letters, which are all from \u0061 on.
bool is_significant(const char* p, const char* end, bool null_tells)
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
        told_ = told_ || is_significant(p, end_, null_tells_);
        return told_;
    }
    bool told() const { return told_; }
    // Where the event begins that has to be read.
    const char* border() const { return border_; }
    // Nothing tells up to the end. Returns how far that is true.
    const char* finish()
    {
        end_event(end_);
        return border_;
    }

private:
    void begin_event()
    {
        shown_ = place_.measure(border_, end_);
        told_ = shown_.size == 0;
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

// The same of a single event.
struct event_search {
    const char* end;
    bool null_tells;

    bool look(const char* p) const
    {
        return (*p == '\n' && p[1] == '\n') || is_significant(p, end, null_tells);
    }
};

// Searches events up to the first byte that is significant. Of the last event its two line feeds are left
// out. Returns whether there is none.
template <typename Search>
bool search_bytes(Search& found, const char* p, const char* end)
{
    while (p != end - 2) {
        if (found.look(p)) {
            return false;
        }
        ++p;
    }
    return true;
}

// A way of searching.
struct by_bytes {
    template <typename Search>
    static bool search(Search& found, const char* p, const char* end)
    {
        return search_bytes(found, p, end);
    }
};

#if defined(__SSE2__)
// To be inlined where the processor is known that the mask is for.
template <detail::block_mask Mask>
struct by_blocks {
    template <typename Search>
    [[gnu::always_inline]] static inline bool search(Search& found, const char* p, const char* end)
    {
        if (end - 2 - p < detail::block_size) {
            return search_bytes(found, p, end);
        }
        // The last block takes some bytes again of the one before it.
        const char* const last = end - 2 - detail::block_size;
        for (;; p = last - p > detail::block_size ? p + detail::block_size : last) {
            for (uint64_t mask = Mask(p); mask != 0; mask &= mask - 1) {
                if (found.look(p + __builtin_ctzll(mask))) {
                    return false;
                }
            }
            if (p == last) {
                return true;
            }
        }
    }
};
#endif

template <typename Way>
[[gnu::always_inline]] inline size_t skippable_in_events(std::string_view events, bool null_tells,
                                                         const text_place& place, text_size& text)
{
    const char* const begin = events.data();
    const char* const end = begin + events.size();
    // One byte alone is left where an event ends with more than one empty line.
    if (events.size() < 2 || is_significant_line(begin, end)) {
        return 0;
    }
    events_search found(events, null_tells, place, text);
    if (found.told() || !Way::search(found, begin, end)) {
        return static_cast<size_t>(found.border() - begin);
    }
    return static_cast<size_t>(found.finish() - begin);
}

template <typename Way>
[[gnu::always_inline]] inline size_t skippable_in_pieces(std::span<const reply_piece> pieces, bool null_tells,
                                                         const text_place& place, text_size& text)
{
    size_t n = 0;
    uint64_t bytes = 0;
    for (const reply_piece& piece : pieces) {
        const char* const begin = piece.data;
        const char* const end = begin + piece.size;
        const bool is_whole = piece.size > 2 && end[-1] == '\n' && end[-2] == '\n';
        if (!is_whole || (!starts(begin, end, "data: {") && is_significant_line(begin, end))) {
            break;
        }
        const text_place::found shown = place.measure(begin, end);
        event_search found{end, null_tells};
        if (!place.has_all(shown, begin, end) || !Way::search(found, begin, end)) {
            break;
        }
        bytes += shown.size;
        ++n;
    }
    text.add({bytes, n});
    return n;
}

size_t skippable_events_bytes(std::string_view events, bool null_tells, const text_place& place,
                              text_size& text)
{
    return skippable_in_events<by_bytes>(events, null_tells, place, text);
}

size_t skippable_pieces_bytes(std::span<const reply_piece> pieces, bool null_tells, const text_place& place,
                              text_size& text)
{
    return skippable_in_pieces<by_bytes>(pieces, null_tells, place, text);
}

#if defined(__SSE2__)
size_t skippable_events_sse2(std::string_view events, bool null_tells, const text_place& place,
                             text_size& text)
{
    return skippable_in_events<by_blocks<detail::block_mask_sse2>>(events, null_tells, place, text);
}

size_t skippable_pieces_sse2(std::span<const reply_piece> pieces, bool null_tells, const text_place& place,
                             text_size& text)
{
    return skippable_in_pieces<by_blocks<detail::block_mask_sse2>>(pieces, null_tells, place, text);
}

[[gnu::target("avx2")]] size_t skippable_events_avx2(std::string_view events, bool null_tells,
                                                     const text_place& place, text_size& text)
{
    return skippable_in_events<by_blocks<detail::block_mask_avx2>>(events, null_tells, place, text);
}

[[gnu::target("avx2")]] size_t skippable_pieces_avx2(std::span<const reply_piece> pieces, bool null_tells,
                                                     const text_place& place, text_size& text)
{
    return skippable_in_pieces<by_blocks<detail::block_mask_avx2>>(pieces, null_tells, place, text);
}

[[gnu::target("avx512f,avx512bw")]] size_t skippable_events_avx512(std::string_view events, bool null_tells,
                                                                   const text_place& place, text_size& text)
{
    return skippable_in_events<by_blocks<detail::block_mask_avx512>>(events, null_tells, place, text);
}

[[gnu::target("avx512f,avx512bw")]] size_t skippable_pieces_avx512(std::span<const reply_piece> pieces,
                                                                   bool null_tells, const text_place& place,
                                                                   text_size& text)
{
    return skippable_in_pieces<by_blocks<detail::block_mask_avx512>>(pieces, null_tells, place, text);
}
#endif

constexpr event_skip_way ways[] = {
#if defined(__SSE2__)
    {"avx512", skippable_events_avx512, skippable_pieces_avx512},
    {"avx2", skippable_events_avx2, skippable_pieces_avx2},
    {"sse2", skippable_events_sse2, skippable_pieces_sse2},
#endif
    {"bytes", skippable_events_bytes, skippable_pieces_bytes},
};

const event_skip_way& fastest = event_skip_ways().front();

} // namespace

std::span<const event_skip_way> event_skip_ways()
{
    std::span<const event_skip_way> can(ways);
#if defined(__SSE2__)
    // The first processors with AVX-512 run slower for a while after each use of it; those with VBMI2 do not.
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vbmi2")) {
        can = can.subspan(1);
    }
    if (!__builtin_cpu_supports("avx2")) {
        can = can.last(2);
    }
#endif
    return can;
}

const char* last_event_end(std::string_view piece)
{
    size_t size = piece.size();
    while (const void* const found = memrchr(piece.data(), '\n', size)) {
        const char* const lf = static_cast<const char*>(found);
        size = static_cast<size_t>(lf - piece.data());
        if (size != 0 && lf[-1] == '\n') {
            return lf + 1;
        }
    }
    return piece.data();
}

size_t skippable_events(std::string_view events, bool null_tells, const text_place& place, text_size& text)
{
    return fastest.skippable_events(events, null_tells, place, text);
}

size_t skippable_pieces(std::span<const reply_piece> pieces, bool null_tells, const text_place& place,
                        text_size& text)
{
    return fastest.skippable_pieces(pieces, null_tells, place, text);
}

} // namespace llm
