// Passes over the book in slices, so that no request waits for all of it: what is in a slice is copied out.
//
// A pass is its reader's own, not in the zone; several may go on at once. What is made after its begin is not
// in it, so that nothing stands twice, and neither is what is folded on the way. Each slice has what is there
// when it is taken.
#pragma once

#include "book.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

struct series_copy {
    uint64_t serial; // see book_record
    uint8_t key_len;
    uint8_t user_len;
    uint8_t model_len;
    char key_bytes[max_name];
    char user_bytes[max_name];
    char model_bytes[lease::max_model];
    int64_t made_ms;
    book_counts counts;

    std::string_view key() const { return {key_bytes, key_len}; }
    std::string_view user() const { return {user_bytes, user_len}; }
    std::string_view model() const { return {model_bytes, model_len}; }
};

struct client_copy {
    uint8_t key_len;
    uint8_t user_len;
    char key_bytes[max_name];
    char user_bytes[max_name];
    int64_t made_ms;
    std::array<uint64_t, refusal_reasons> refusals;

    std::string_view key() const { return {key_bytes, key_len}; }
    std::string_view user() const { return {user_bytes, user_len}; }
};

struct model_copy {
    uint32_t index; // in the table
    uint8_t name_len;
    char name_bytes[lease::max_model];
    int64_t made_ms;
    histogram<duration_bounds> duration;
    histogram<first_token_bounds> first_token;
    histogram<token_bounds> token;

    std::string_view name() const { return {name_bytes, name_len}; }
};

// How far a pass over one of the tables is.
struct book_cursor {
    uint32_t next = 0;
    uint64_t last_serial = UINT64_MAX; // of those that are part of it; not known before its first slice
};

inline constexpr size_t max_slice_of_book = 64;

// These copy the next slice and return how many records it has, none at the end. They take the lock for each
// by `locked(f)`, which calls f with the zone locked, and look for records without it.

// Series that have changed since a mark, see book::next_mark(); 0 = all.
template <class Locked>
size_t copy_series(const book& from, book_cursor& at, uint64_t since, std::span<series_copy> to,
                   Locked&& locked);
// The same of those that are counted for all other clients: into them all others are folded, see
// book::folds().
template <class Locked>
size_t copy_other_series(const book& from, book_cursor& at, uint64_t since, std::span<series_copy> to,
                         Locked&& locked);
template <class Locked>
size_t copy_clients(const book& from, book_cursor& at, std::span<client_copy> to, Locked&& locked);
template <class Locked>
size_t copy_models(const book& from, book_cursor& at, std::span<model_copy> to, Locked&& locked);

namespace detail {

void copy_record(const book& from, const book_series& s, series_copy& to);
void copy_record(const book& from, const book_client& c, client_copy& to);
void copy_record(const book& from, const book_model& m, model_copy& to);

// `skip` says from which record on there may be one that is wanted.
template <class Record, class Copy, class Skip, class Wants, class Locked>
size_t copy_slice(const book& from, const book_table<Record>& table, book_cursor& at, Skip&& skip,
                  Wants&& wants, std::span<Copy> to, Locked&& locked)
{
    if (at.last_serial == UINT64_MAX) {
        locked([&] { at.last_serial = table.last_serial(); });
    }
    const size_t most = std::min(to.size(), max_slice_of_book);
    size_t n = 0;
    while (n == 0 && at.next < table.high_water()) {
        std::array<uint32_t, max_slice_of_book> found;
        size_t n_found = 0;
        for (; n_found < most && (at.next = skip(at.next)) < table.high_water(); at.next++) {
            if (table.is_made(at.next) && wants(table.at(at.next))) {
                found[n_found++] = at.next;
                table.prefetch(at.next);
            }
        }
        if (n_found == 0) {
            break;
        }
        locked([&] {
            for (size_t i = 0; i < n_found; i++) {
                const Record& r = table.at(found[i]);
                if (table.is_made(found[i]) && r.serial <= at.last_serial) {
                    copy_record(from, r, to[n++]);
                }
            }
        });
    }
    return n;
}

} // namespace detail

template <class Locked>
size_t copy_series(const book& from, book_cursor& at, uint64_t since, std::span<series_copy> to,
                   Locked&& locked)
{
    return detail::copy_slice(
        from, from.series(), at, [&from, since](uint32_t i) { return from.skip_unchanged(i, since); },
        [since](const book_series& s) { return __atomic_load_n(&s.changed, __ATOMIC_RELAXED) >= since; }, to,
        locked);
}

template <class Locked>
size_t copy_other_series(const book& from, book_cursor& at, uint64_t since, std::span<series_copy> to,
                         Locked&& locked)
{
    return detail::copy_slice(
        from, from.series(), at, [&from, since](uint32_t i) { return from.skip_unchanged(i, since); },
        [since](const book_series& s) {
            return s.client == book::other && __atomic_load_n(&s.changed, __ATOMIC_RELAXED) >= since;
        },
        to, locked);
}

template <class Locked>
size_t copy_clients(const book& from, book_cursor& at, std::span<client_copy> to, Locked&& locked)
{
    return detail::copy_slice(
        from, from.clients(), at, [](uint32_t i) { return i; }, [](const book_client&) { return true; }, to,
        locked);
}

template <class Locked>
size_t copy_models(const book& from, book_cursor& at, std::span<model_copy> to, Locked&& locked)
{
    return detail::copy_slice(
        from, from.models(), at, [](uint32_t i) { return i; }, [](const book_model&) { return true; }, to,
        locked);
}

} // namespace llm
