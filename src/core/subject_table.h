// Whoever tokens and requests are counted for: keys and users by name. One record each, made when it is first
// needed and kept for as long as the zone lives.
//
// All of it lies in the shared zone. Pointers in it are good in every process, since all have inherited one
// mapping. Every function needs the zone's lock.
#pragma once

#include "key_record.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

inline constexpr uint32_t no_index = ~0u;

enum class subject_kind : uint8_t { none, key, user };

// Of requests that have ended: those that run are counted by their leases.
struct usage_totals {
    uint64_t requests = 0;
    uint64_t prompt = 0;
    uint64_t cached = 0;
    uint64_t completion = 0;
    uint64_t reasoning = 0;
};

struct alignas(64) subject {
    uint32_t next;      // in its bucket, or in the list of free records
    uint32_t in_flight; // leases that name it: derived from the leases, recounted by shared_state::repair
    uint64_t hash;
    std::atomic<subject_kind> kind; // none = free; stored last when a record is made
    uint8_t name_len;
    char name_bytes[max_name];
    usage_totals totals;

    std::string_view name() const { return {name_bytes, name_len}; }
};

static_assert(sizeof(subject) == 192);
static_assert(std::atomic<subject_kind>::is_always_lock_free);

class subject_table {
public:
    // Bytes that a table of this capacity takes.
    static size_t bytes(uint32_t capacity);
    // Makes an empty table over `memory` (zeroed, 64-byte aligned, bytes(capacity) long).
    void format(void* memory, uint32_t capacity);

    // The record of this kind and name, made if there is none. no_index if the table is full. `name` is at
    // most max_name.
    uint32_t find_or_make(subject_kind kind, std::string_view name);
    uint32_t find(subject_kind kind, std::string_view name) const;
    // Frees a record that no lease names.
    void remove(uint32_t index);

    subject& at(uint32_t index) { return records_[index]; }
    const subject& at(uint32_t index) const { return records_[index]; }
    bool valid(uint32_t index) const
    {
        return index < high_water_
               && records_[index].kind.load(std::memory_order_relaxed) != subject_kind::none;
    }

    uint32_t used() const { return used_; }
    uint32_t capacity() const { return capacity_; }
    // Records at and above this index were never used.
    uint32_t high_water() const { return high_water_; }

    // Makes lists, buckets and counts anew from the records, and sets every in_flight to 0.
    void rebuild();

private:
    static uint64_t hash_of(subject_kind kind, std::string_view name);
    void link(uint32_t index);

    subject* records_;
    uint32_t* buckets_;
    uint32_t bucket_mask_;
    uint32_t capacity_;
    uint32_t high_water_;
    uint32_t free_;
    uint32_t used_;
};

} // namespace llm
