// Records of the book, found by a hash: a bounded table of one kind of them.
//
// Lies in the shared zone; needs its lock, unless it is said otherwise. The records are the truth: what they
// are found by is made anew from them if a process was killed.
#pragma once

#include "core/limit/scope.h"

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llm {

// What every record begins with.
struct book_record {
    uint32_t next; // in its bucket, or in the list of free records
    uint32_t hash;
    std::atomic<bool> made; // stored last when a record is made
    uint64_t serial;        // never used twice in a table
    int64_t made_ms;        // wall clock, since 1970
};

template <class Record>
class book_table {
public:
    static size_t bytes(uint32_t capacity)
    {
        return size_t{capacity} * sizeof(Record) + size_t{std::bit_ceil(capacity | 1)} * sizeof(uint32_t);
    }
    // Makes an empty table over `memory` (zeroed, 64-byte aligned, bytes(capacity) long).
    void format(void* memory, uint32_t capacity)
    {
        records_ = static_cast<Record*>(memory);
        capacity_ = capacity;
        buckets_ = reinterpret_cast<uint32_t*>(records_ + capacity);
        bucket_mask_ = std::bit_ceil(capacity | 1) - 1;
        high_water_ = 0;
        last_serial_ = 0;
        rebuild();
    }

    // The record of this hash for which is(record) holds, or no_index.
    template <class Is>
    uint32_t find(uint32_t hash, Is&& is) const
    {
        for (uint32_t i = buckets_[hash & bucket_mask_]; i != no_index; i = records_[i].next) {
            if (records_[i].hash == hash && is(records_[i])) {
                return i;
            }
        }
        return no_index;
    }
    // The same without the lock: a guess, which may miss what is there, and may be of a record that is
    // another by now.
    template <class Is>
    uint32_t guess(uint32_t hash, Is&& is) const
    {
        uint32_t i = __atomic_load_n(&buckets_[hash & bucket_mask_], __ATOMIC_RELAXED);
        for (int steps = 0; i < capacity_ && steps < 8; steps++) {
            const Record& r = records_[i];
            if (__atomic_load_n(&r.hash, __ATOMIC_RELAXED) == hash && is(r)) {
                return i;
            }
            i = __atomic_load_n(&r.next, __ATOMIC_RELAXED);
        }
        return no_index;
    }

    bool has_free() const { return free_ != no_index || high_water_ < capacity_; }
    // Makes a record, where there is a free one: fill(record) sets all that is not zero.
    template <class Fill>
    uint32_t make(uint32_t hash, int64_t now_ms, Fill&& fill)
    {
        uint32_t index = free_;
        if (index != no_index) {
            free_ = records_[index].next;
        } else {
            index = high_water_++;
        }
        Record& r = records_[index];
        memset(static_cast<void*>(&r), 0, sizeof r);
        r.hash = hash;
        r.serial = ++last_serial_;
        r.made_ms = now_ms;
        fill(r);
        r.made.store(true, std::memory_order_release);
        link(index);
        return index;
    }
    // Its mark has to be in the journal.
    void remove(uint32_t index)
    {
        Record& r = records_[index];
        uint32_t* at = &buckets_[r.hash & bucket_mask_];
        while (*at != index) {
            at = &records_[*at].next;
        }
        *at = r.next;
        r.made.store(false, std::memory_order_relaxed);
        r.next = free_;
        free_ = index;
        used_--;
    }

    // Needs no lock: records never move.
    Record& at(uint32_t index) { return records_[index]; }
    const Record& at(uint32_t index) const { return records_[index]; }
    uint32_t index_of(const Record& record) const { return static_cast<uint32_t>(&record - records_); }
    bool is_made(uint32_t index) const
    {
        return index < high_water_ && records_[index].made.load(std::memory_order_relaxed);
    }
    uint32_t used() const { return used_; }
    uint32_t capacity() const { return capacity_; }
    // Records at and above this index were never used.
    uint32_t high_water() const { return __atomic_load_n(&high_water_, __ATOMIC_RELAXED); }
    // Those that are made later have a higher one.
    uint64_t last_serial() const { return last_serial_; }
    void prefetch(uint32_t index) const
    {
        const char* record = reinterpret_cast<const char*>(&records_[index]);
        for (size_t at = 0; at < sizeof(Record); at += 64) {
            __builtin_prefetch(record + at, 1);
        }
    }

    void rebuild()
    {
        memset(buckets_, 0xff, (size_t{bucket_mask_} + 1) * sizeof(uint32_t));
        free_ = no_index;
        used_ = 0;
        for (uint32_t i = high_water_; i-- > 0;) {
            if (is_made(i)) {
                link(i);
            } else {
                records_[i].next = free_;
                free_ = i;
            }
        }
    }

private:
    void link(uint32_t index)
    {
        uint32_t& bucket = buckets_[records_[index].hash & bucket_mask_];
        records_[index].next = bucket;
        bucket = index;
        used_++;
    }

    Record* records_;
    uint32_t* buckets_;
    uint32_t bucket_mask_;
    uint32_t capacity_;
    uint32_t high_water_;
    uint32_t free_;
    uint32_t used_;
    uint64_t last_serial_;
};

} // namespace llm
