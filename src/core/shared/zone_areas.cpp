#include "zone_areas.h"

#include "shared_state.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <iterator>
#include <new>

namespace llm {

namespace {

// Shares are 128ths of what areas of a fixed size leave. What shares leave, rounding included, is divided
// equally among those of the rest.
constexpr size_t whole = 128;
constexpr size_t rest = 0;

} // namespace

// Static functions, so that they see what is private in shared_state.
struct area_rows {
    struct row {
        std::string_view name; // as metrics have it
        size_t share;          // or the rest
        size_t fixed;          // so many records, whatever the zone's size; 0 = a share
        size_t record_bytes;
        size_t (*records_in)(size_t bytes); // most that fit
        size_t (*bytes_of)(size_t records);
        void (*make)(shared_state& state, void* memory, size_t records, const hash_key& key);
        size_t (*free_records)(const shared_state& state); // nullptr: in use as a whole
    };

    // A subject's record, up to two buckets (subject_table rounds their number up to a power of two), and
    // its part of a mark.
    static constexpr size_t subject_cost = sizeof(subject) + 2 * sizeof(uint32_t) + 1;

    static size_t leases_in(size_t bytes) { return std::min<size_t>(bytes / sizeof(lease), no_index - 1); }
    static size_t lease_bytes(size_t n) { return lease_table::bytes(static_cast<uint32_t>(n)); }
    static void make_leases(shared_state& s, void* memory, size_t n, const hash_key&)
    {
        s.leases_.format(memory, static_cast<uint32_t>(n));
    }
    static size_t free_leases(const shared_state& s) { return s.leases_.capacity() - s.leases_.taken(); }

    static size_t subjects_in(size_t bytes) { return std::min<size_t>(bytes / subject_cost, no_index - 1); }
    static size_t subject_bytes(size_t n) { return subject_table::bytes(static_cast<uint32_t>(n)); }
    static void make_subjects(shared_state& s, void* memory, size_t n, const hash_key& key)
    {
        s.subjects_.format(memory, static_cast<uint32_t>(n), key);
    }
    static size_t free_subjects(const shared_state& s) { return s.subjects_.capacity() - s.subjects_.used(); }

    static size_t figures_in(size_t bytes)
    {
        return std::bit_floor(std::min<size_t>(bytes / sizeof(uint64_t), size_t{1} << 31));
    }
    static size_t figure_bytes(size_t n) { return token_estimator::bytes(static_cast<uint32_t>(n)); }
    static void make_figures(shared_state& s, void* memory, size_t n, const hash_key& key)
    {
        s.learned_.format(memory, static_cast<uint32_t>(n), key);
    }

    // The same of a table of the book.
    template <class Record>
    static size_t records_in(size_t bytes)
    {
        constexpr size_t cost = sizeof(Record) + 2 * sizeof(uint32_t);
        return std::clamp<size_t>(bytes / cost, 4, no_index - 1);
    }
    template <class Record>
    static size_t table_bytes(size_t n)
    {
        return book_table<Record>::bytes(static_cast<uint32_t>(n));
    }
    static size_t series_in(size_t bytes) { return records_in<book_series>(bytes - bytes / 1024); }
    static size_t series_bytes(size_t n)
    {
        return table_bytes<book_series>(n) + change_marks::bytes(static_cast<uint32_t>(n));
    }
    static void make_series(shared_state& s, void* memory, size_t n, const hash_key&)
    {
        s.book_.series_.format(memory, static_cast<uint32_t>(n));
        s.book_.marks_.format(static_cast<uint8_t*>(memory) + table_bytes<book_series>(n),
                              static_cast<uint32_t>(n));
    }
    static size_t free_series(const shared_state& s) { return free_in(s.book_.series_); }
    static void make_clients(shared_state& s, void* memory, size_t n, const hash_key&)
    {
        s.book_.clients_.format(memory, static_cast<uint32_t>(n));
    }
    static size_t free_clients(const shared_state& s) { return free_in(s.book_.clients_); }
    static void make_models(shared_state& s, void* memory, size_t n, const hash_key&)
    {
        s.book_.models_.format(memory, static_cast<uint32_t>(n));
    }
    static size_t free_models(const shared_state& s) { return free_in(s.book_.models_); }
    template <class Table>
    static size_t free_in(const Table& table)
    {
        return table.capacity() - table.used();
    }

    static size_t head_bytes(size_t n) { return n * sizeof(book_head); }
    static void make_book(shared_state& s, void* memory, size_t, const hash_key&)
    {
        s.book_.head_ = new (memory) book_head{};
    }

    static size_t caller_bytes(size_t n) { return n * sizeof(known_callers); }
    static void make_callers(shared_state& s, void* memory, size_t, const hash_key&)
    {
        s.callers_ = new (memory) known_callers;
    }

    static size_t journal_bytes(size_t n) { return n * sizeof(undo_journal); }
    static void make_journal(shared_state& s, void* memory, size_t, const hash_key&)
    {
        s.journal_ = new (memory) undo_journal;
    }

    static size_t owner_bytes(size_t n) { return n * sizeof(lease_owner); }
    static void make_owners(shared_state& s, void* memory, size_t, const hash_key&)
    {
        s.owners_ = static_cast<lease_owner*>(memory);
        s.owners_end_ = 0;
    }
    static size_t free_owners(const shared_state& s)
    {
        const auto known = s.owners();
        return s.max_owners - known.size()
               + static_cast<size_t>(std::count_if(known.begin(), known.end(),
                                                   [](const lease_owner& o) { return o.pid == 0; }));
    }

    static size_t same(size_t bytes) { return bytes; }
    template <size_t N>
    static void make_keys(shared_state& s, void* memory, size_t bytes, const hash_key&)
    {
        s.key_areas_[N] = memory;
        s.key_area_bytes_ = bytes;
    }
    static size_t free_key_bytes(const shared_state& s)
    {
        return s.key_area_bytes_ - (s.keys_ ? s.keys_->size() : 0);
    }

    static const row rows[zone_areas::count];
};

// In the order in which they lie.
constexpr area_rows::row area_rows::rows[zone_areas::count] = {
    {"requests", 14, 0, sizeof(lease), leases_in, lease_bytes, make_leases, free_leases},
    {"counters", 44, 0, sizeof(subject), subjects_in, subject_bytes, make_subjects, free_subjects},
    {"learned", 2, 0, sizeof(uint64_t), figures_in, figure_bytes, make_figures, nullptr},
    {"series", 26, 0, sizeof(book_series), series_in, series_bytes, make_series, free_series},
    {"clients", 9, 0, sizeof(book_client), records_in<book_client>, table_bytes<book_client>, make_clients,
     free_clients},
    {"models", 2, 0, sizeof(book_model), records_in<book_model>, table_bytes<book_model>, make_models,
     free_models},
    {"book", 0, 1, sizeof(book_head), nullptr, head_bytes, make_book, nullptr},
    {"callers", 0, 1, sizeof(known_callers), nullptr, caller_bytes, make_callers, nullptr},
    {"journal", 0, 1, sizeof(undo_journal), nullptr, journal_bytes, make_journal, nullptr},
    {"owners", 0, shared_state::max_owners, sizeof(lease_owner), nullptr, owner_bytes, make_owners,
     free_owners},
    {"keys", rest, 0, 1, same, same, make_keys<0>, free_key_bytes},
    {"reserved", rest, 0, 1, same, same, make_keys<1>, nullptr},
};

namespace {

using row = area_rows::row;

constexpr size_t cache_lines(size_t bytes)
{
    return (bytes + 63) & ~size_t{63};
}

constexpr bool is_rest(const row& r)
{
    return r.share == rest && r.fixed == 0;
}

size_t fixed_bytes()
{
    size_t bytes = 0;
    for (const row& r : area_rows::rows) {
        bytes += r.fixed != 0 ? cache_lines(r.bytes_of(r.fixed)) : 0;
    }
    return bytes;
}

constexpr size_t shares()
{
    size_t sum = 0;
    for (const row& r : area_rows::rows) {
        sum += r.share;
    }
    return sum;
}
static_assert(shares() < whole);

size_t rest_areas()
{
    return static_cast<size_t>(
        std::count_if(std::begin(area_rows::rows), std::end(area_rows::rows), is_rest));
}

} // namespace

zone_areas::division zone_areas::divide(size_t room)
{
    division d;
    const size_t shared = room - std::min(room, fixed_bytes());
    size_t left = room;
    for (size_t i = 0; i < count; i++) {
        const row& r = area_rows::rows[i];
        if (!is_rest(r)) {
            d.records[i] = r.fixed != 0 ? r.fixed : r.records_in(shared * r.share / whole);
            d.bytes[i] = cache_lines(r.bytes_of(d.records[i]));
            left -= std::min(left, d.bytes[i]);
        }
    }
    const size_t each = left / rest_areas() & ~size_t{63};
    for (size_t i = 0; i < count; i++) {
        if (is_rest(area_rows::rows[i])) {
            d.records[i] = d.bytes[i] = each;
        }
    }
    return d;
}

size_t zone_areas::room_for(size_t key_table_bytes, size_t subjects)
{
    const size_t for_keys = key_table_bytes * rest_areas() * whole / (whole - shares());
    const size_t for_subjects = subjects * area_rows::subject_cost * whole / area_rows::rows[counters].share;
    return fixed_bytes() + std::max(for_keys, for_subjects);
}

void zone_areas::make(shared_state& state, void* memory, const division& sizes, const hash_key& key)
{
    auto* at = static_cast<uint8_t*>(memory);
    for (size_t i = 0; i < count; i++) {
        area_rows::rows[i].make(state, at, sizes.records[i], key);
        state.area_bytes_[i] = sizes.bytes[i];
        at += sizes.bytes[i];
    }
}

area_bytes zone_areas::use(const shared_state& state, area which)
{
    const row& r = area_rows::rows[which];
    const size_t free = r.free_records ? r.free_records(state) * r.record_bytes : 0;
    return {r.name, state.area_bytes_[which] - free, free, r.free_records != nullptr};
}

} // namespace llm
