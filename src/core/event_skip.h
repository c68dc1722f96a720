// Passes over events of a stream that can not say anything about usage, errors or the stream's end, faster
// than reading them: what it passes over, usage_reader would read and not change by.
#pragma once

#include "bytes.h"
#include "reply_piece.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace llm {

namespace detail {

inline bool starts(const char* p, const char* end, std::string_view text)
{
    return static_cast<size_t>(end - p) >= text.size() && std::memcmp(p, text.data(), text.size()) == 0;
}

inline bool is_null_member(const char* p, const char* end)
{
    return starts(p, end, ":null") || starts(p, end, ": null");
}

// Whether the line at p is the field `error`, names the event so, or has [DONE] as its data.
inline bool is_telling_line(const char* p, const char* end)
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
inline bool is_telling_name(const char* p, const char* end, bool null_tells)
{
    if (starts(p, end, "\"usage\"")) {
        return null_tells || !is_null_member(p + 7, end);
    }
    return (starts(p, end, "\"error\"") && !is_null_member(p + 7, end)) || starts(p, end, "\"timings\"");
}

// Whether the byte at p begins something that has to be read. Names can be spelled with \u00XX for their
// letters, which are all from \u0061 on.
inline bool is_telling(const char* p, const char* end, bool null_tells)
{
    switch (*p) {
    case '\r':
        return true;
    case '"':
        return is_telling_name(p, end, null_tells);
    case '\\':
        return starts(p, end, "\\u006") || starts(p, end, "\\u007");
    case '\n':
        return is_telling_line(p + 1, end);
    default:
        return false;
    }
}

#if defined(__SSE2__)
// Of 16 bytes, those where is_telling() may be true: by two bytes of each text it knows. Reads 17.
inline __m128i may_tell(const char* p)
{
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 1));
    const auto is = [](__m128i bytes, char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); };
    // LF, CR and few others; "u "e "t \u.
    const __m128i line_end = _mm_cmpeq_epi8(_mm_min_epu8(first, _mm_set1_epi8(0x0f)), first);
    const __m128i u_or_e = is(_mm_or_si128(second, _mm_set1_epi8('u' ^ 'e')), 'u');
    const __m128i letter = _mm_or_si128(u_or_e, is(second, 't'));
    const __m128i name = _mm_and_si128(_mm_or_si128(is(first, '"'), is(first, '\\')), letter);
    return _mm_or_si128(line_end, name);
}
#endif

// What was found in events up to some byte.
struct event_search {
    const char* border; // the last one between events
    bool null_tells;
    bool told = false; // the byte is telling

    // Whether the byte at p, which may_tell(), tells.
    bool look(const char* p, const char* end)
    {
        if (*p == '\n' && p[1] == '\n') {
            border = p + 2;
        }
        told = is_telling(p, end, null_tells);
        return told;
    }
};

#if defined(__SSE2__)
// Of 32 bytes, those that begin a name or an escape where is_telling() may be true, as in may_tell().
// `second` are the bytes that follow each.
[[gnu::target("avx2")]] inline __m256i may_tell_name(__m256i first, __m256i second)
{
    const __m256i u_or_e =
        _mm256_cmpeq_epi8(_mm256_or_si256(second, _mm256_set1_epi8('u' ^ 'e')), _mm256_set1_epi8('u'));
    const __m256i letter = _mm256_or_si256(u_or_e, _mm256_cmpeq_epi8(second, _mm256_set1_epi8('t')));
    // By the low half of a byte, the one of the two that has it. No byte is what stands at the other places.
    const __m256i by_half =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0));
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(by_half, first), first), letter);
}

[[gnu::target("avx2")]] inline __m256i load_wide(const char* from)
{
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

[[gnu::target("avx2")]] inline __m256i is_line_end(__m256i bytes)
{
    return _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x0f)), bytes);
}

// search_events() for processors that have AVX2, of at least 66 bytes.
[[gnu::target("avx2"), gnu::always_inline]] inline event_search search_wide(const char* p, const char* end,
                                                                            bool null_tells)
{
    constexpr std::ptrdiff_t block = 64;
    event_search found{p, null_tells};
    // The last block takes some bytes again of the one before it.
    for (const char* const last = end - 2 - block;; p = last - p > block ? p + block : last) {
        const __m256i first = load_wide(p);
        const __m256i first_high = load_wide(p + 32);
        const __m256i low = may_tell_name(first, load_wide(p + 1));
        const __m256i high = may_tell_name(first_high, load_wide(p + 33));
        const __m256i any =
            _mm256_or_si256(_mm256_or_si256(low, high), is_line_end(_mm256_min_epu8(first, first_high)));
        if (!_mm256_testz_si256(any, any)) {
            const __m256i tell = _mm256_or_si256(low, is_line_end(first));
            const __m256i tell_high = _mm256_or_si256(high, is_line_end(first_high));
            uint64_t mask = static_cast<uint32_t>(_mm256_movemask_epi8(tell))
                            | uint64_t{static_cast<uint32_t>(_mm256_movemask_epi8(tell_high))} << 32;
            for (; mask != 0; mask &= mask - 1) {
                if (found.look(p + __builtin_ctzll(mask), end)) {
                    return found;
                }
            }
        }
        if (p == last) {
            return found;
        }
    }
}

constexpr std::ptrdiff_t least_wide = 66;

[[gnu::target("avx2")]] inline event_search search_events_wide(const char* p, const char* end,
                                                               bool null_tells)
{
    return search_wide(p, end, null_tells);
}

inline const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
#endif

// Searches events up to the first byte that is telling. Of the last event its two line feeds are left out.
inline event_search search_events(const char* p, const char* end, bool null_tells)
{
    event_search found{p, null_tells};
    const char* const stop = end - 2;
#if defined(__SSE2__)
    constexpr std::ptrdiff_t block = 32;
    if (stop - p >= block) {
        // The last block takes some bytes again of the one before it.
        for (const char* const last = stop - block;; p = last - p > block ? p + block : last) {
            const __m128i low = may_tell(p);
            const __m128i high = may_tell(p + 16);
            if (_mm_movemask_epi8(_mm_or_si128(low, high)) != 0) {
                unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(low) | _mm_movemask_epi8(high) << 16);
                for (; mask != 0; mask &= mask - 1) {
                    if (found.look(p + __builtin_ctz(mask), end)) {
                        return found;
                    }
                }
            }
            if (p == last) {
                return found;
            }
        }
    }
#endif
    while (p != stop && !found.look(p, end)) {
        ++p;
    }
    return found;
}

// search_events() in the way that is fastest here.
inline event_search search(const char* p, const char* end, bool null_tells)
{
#if defined(__SSE2__)
    if (has_avx2 && end - p >= least_wide) {
        return search_events_wide(p, end, null_tells);
    }
#endif
    return search_events(p, end, null_tells);
}

} // namespace detail

// One past the last empty line of `piece` that a pair of line feeds makes; its begin where there is none.
inline const char* last_event_end(std::string_view piece)
{
    size_t i = piece.size();
    while (i >= 2 && (piece[i - 1] != '\n' || piece[i - 2] != '\n')) {
        --i;
    }
    return i < 2 ? piece.data() : piece.data() + i;
}

// `events` begins and ends at borders of events. Returns how many bytes from its front are whole events
// without a name "timings", "usage" or "error" (unless null; with `null_tells` of usage also then) at any
// depth and in any spelling, without a field line `error`, an event named so or [DONE], and without CR.
inline size_t quiet_events(std::string_view events, bool null_tells)
{
    const char* const begin = events.data();
    const char* const end = begin + events.size();
    // One byte alone is left where an event ends with more than one empty line.
    if (events.size() < 2 || detail::is_telling_line(begin, end)) {
        return 0;
    }
    const detail::event_search found = detail::search(begin, end, null_tells);
    return found.told ? static_cast<size_t>(found.border - begin) : events.size();
}

namespace detail {

// Whether the piece, which begins at a border of events, ends at one and may be searched: its first line does
// not tell.
inline bool is_whole_events(std::string_view piece)
{
    const char* const end = piece.data() + piece.size();
    return piece.size() > 2 && end[-1] == '\n' && end[-2] == '\n'
           && (starts(piece.data(), end, "data: {") || !is_telling_line(piece.data(), end));
}

#if defined(__SSE2__)
[[gnu::target("avx2")]] inline size_t quiet_pieces_wide(std::span<const reply_piece> pieces, bool null_tells)
{
    size_t n = 0;
    for (const reply_piece& of : pieces) {
        const std::string_view piece = of.bytes();
        const char* const end = piece.data() + piece.size();
        if (!is_whole_events(piece)
            || (end - piece.data() >= least_wide ? search_wide(piece.data(), end, null_tells)
                                                 : search_events(piece.data(), end, null_tells))
                   .told) {
            break;
        }
        ++n;
    }
    return n;
}
#endif

} // namespace detail

// How many pieces from the front are whole events that quiet_events() would take. The first begins at a
// border.
inline size_t quiet_pieces(std::span<const reply_piece> pieces, bool null_tells)
{
#if defined(__SSE2__)
    if (detail::has_avx2) {
        return detail::quiet_pieces_wide(pieces, null_tells);
    }
#endif
    size_t n = 0;
    for (const reply_piece& of : pieces) {
        const std::string_view piece = of.bytes();
        if (!detail::is_whole_events(piece)
            || detail::search_events(piece.data(), piece.data() + piece.size(), null_tells).told) {
            break;
        }
        ++n;
    }
    return n;
}

} // namespace llm
