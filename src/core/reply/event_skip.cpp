#include "event_skip.h"

#include "event_blocks.h"
#include "event_search.h"

namespace llm {

namespace {

using namespace detail;

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
        for (;;) {
            for (uint64_t mask = Mask(p); mask != 0; mask &= mask - 1) {
                if (found.look(p + __builtin_ctzll(mask))) {
                    return false;
                }
            }
            if (p == last) {
                return true;
            }
            p += detail::block_size;
            p = p > last ? last : p;
        }
    }
};
#endif

// What is asked for, each to be inlined in a way.
struct events_job {
    std::string_view events;
    bool null_tells;
    const text_place& place;
    text_size& text;

    template <typename Way>
    [[gnu::always_inline]] inline size_t run() const
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
};

struct pieces_job {
    std::span<reply_piece> pieces;
    bool null_tells;
    text_place place; // a copy, which what is noted in pieces does not change
    text_size& text;

    template <typename Way>
    [[gnu::always_inline]] inline size_t run() const
    {
        return place.has_name() ? run_in<Way, true>() : run_in<Way, false>();
    }

private:
    // `named`: the place is of events with a name.
    template <typename Way, bool named>
    [[gnu::always_inline]] inline size_t run_in() const
    {
        size_t n = 0;
        uint64_t bytes = 0;
        for (reply_piece& piece : pieces) {
            const char* const begin = piece.data;
            const char* const end = begin + piece.size;
            // A usage at the very end need not be searched for.
            const bool ends_null = null_tells && ends(begin, end, null_end);
            if (!ends_null && !(piece.size > 2 && end[-1] == '\n' && end[-2] == '\n')) {
                break;
            }
            const char* const from = named ? place.past_name(begin, end) : begin;
            if (named ? ends_null || from == nullptr
                      : !starts(begin, end, event_front) && (ends_null || is_significant_line(begin, end))) {
                break;
            }
            const text_place::found shown = place.measure(begin, end);
            if (!place.has_all(shown, begin, end)) {
                break;
            }
            event_search found{end, null_tells, named || ends_null};
            const char* const null_begin = end - (ends_null ? null_end.size() : 0);
            if (!Way::search(found, from, ends_null ? null_begin + 2 : end)) {
                break;
            }
            if (ends_null) {
                piece.erase_begin = static_cast<size_t>(null_begin - begin);
                piece.erase_end = piece.size - 3;
            }
            bytes += shown.size;
            ++n;
        }
        text.add({bytes, n});
        return n;
    }
};

struct event_job {
    std::string_view events;
    const text_place& place;

    template <typename Way>
    [[gnu::always_inline]] inline event_usage run() const
    {
        event_usage event;
        const char* const begin = events.data();
        const char* const end = begin + events.size();
        if (place.has_name() || !starts(begin, end, event_front)) {
            return event;
        }
        const text_place::found shown = place.measure(begin, end);
        usage_search found(begin, end, shown, event);
        if (shown.size != 0 && Way::search(found, begin, end)) {
            event.size = end[-1] == '\n' && end[-2] == '\n' ? events.size() : 0;
        }
        event.text = shown.size;
        if (event.size != 0 && !place.has_all(shown, begin, begin + event.size)) {
            event.size = 0;
        }
        return event;
    }
};

struct text_job {
    const char* begin;
    const char* end;

    template <typename Way>
    [[gnu::always_inline]] inline const char* run() const
    {
        text_search found{end};
        return end - begin > 2 && !Way::search(found, begin, end) ? found.found : end;
    }
};

#if defined(__SSE2__)
template <typename Job>
[[gnu::target("avx512f,avx512bw")]] auto run_avx512(const Job& job)
{
    return job.template run<by_blocks<block_mask_avx512>>();
}

template <typename Job>
[[gnu::target("avx2")]] auto run_avx2(const Job& job)
{
    return job.template run<by_blocks<block_mask_avx2>>();
}

template <typename Job>
auto run_sse2(const Job& job)
{
    return job.template run<by_blocks<block_mask_sse2>>();
}
#endif

template <typename Job>
auto run_bytes(const Job& job)
{
    return job.template run<by_bytes>();
}

template <typename Job>
auto run(event_skip_way way, const Job& job)
{
    // By event_skip_way.
    static constexpr decltype(&run_bytes<Job>) runs[] = {
#if defined(__SSE2__)
        run_avx512,
        run_avx2,
        run_sse2,
#else
        nullptr,
        nullptr,
        nullptr,
#endif
        run_bytes
    };
    return runs[static_cast<size_t>(way)](job);
}

constexpr event_skip_way ways[] = {
#if defined(__SSE2__)
    event_skip_way::avx512,
    event_skip_way::avx2,
    event_skip_way::sse2,
#endif
    event_skip_way::bytes,
};

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

size_t skippable_events(std::string_view events, bool null_tells, const text_place& place, text_size& text,
                        event_skip_way way)
{
    return run(way, events_job{events, null_tells, place, text});
}

size_t skippable_pieces(std::span<reply_piece> pieces, bool null_tells, const text_place& place,
                        text_size& text, event_skip_way way)
{
    return run(way, pieces_job{pieces, null_tells, place, text});
}

event_usage read_event(std::string_view events, const text_place& place, event_skip_way way)
{
    return run(way, event_job{events, place});
}

const char* find_telling(const char* begin, const char* end, event_skip_way way)
{
    return run(way, text_job{begin, end});
}

} // namespace llm
