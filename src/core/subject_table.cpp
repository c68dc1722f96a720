#include "subject_table.h"

#include "hash.h"

#include <bit>
#include <cstring>

namespace llm {

size_t subject_table::bytes(uint32_t capacity)
{
    return size_t{capacity} * sizeof(subject) + size_t{std::bit_ceil(capacity | 1)} * sizeof(uint32_t);
}

void subject_table::format(void* memory, uint32_t capacity)
{
    records_ = static_cast<subject*>(memory);
    buckets_ = reinterpret_cast<uint32_t*>(records_ + capacity);
    bucket_mask_ = std::bit_ceil(capacity | 1) - 1;
    capacity_ = capacity;
    high_water_ = 0;
    rebuild();
}

uint64_t subject_table::hash_of(subject_kind kind, std::string_view name)
{
    return name_hash(name) + static_cast<uint8_t>(kind);
}

uint32_t subject_table::find(subject_kind kind, std::string_view name) const
{
    uint64_t hash = hash_of(kind, name);
    for (uint32_t i = buckets_[hash & bucket_mask_]; i != no_index; i = records_[i].next) {
        const subject& s = records_[i];
        if (s.hash == hash && s.kind.load(std::memory_order_relaxed) == kind && s.name() == name) {
            return i;
        }
    }
    return no_index;
}

uint32_t subject_table::find_or_make(subject_kind kind, std::string_view name)
{
    uint32_t index = find(kind, name);
    if (index != no_index || name.size() > max_name) {
        return index;
    }

    if (free_ != no_index) {
        index = free_;
        free_ = records_[index].next;
    } else if (high_water_ < capacity_) {
        index = high_water_++;
    } else {
        return no_index;
    }

    subject& s = records_[index];
    s.in_flight = 0;
    s.hash = hash_of(kind, name);
    s.totals = {};
    s.name_len = static_cast<uint8_t>(name.size());
    memcpy(s.name_bytes, name.data(), name.size());
    // Last, so that a process killed on the way leaves a record that rebuild() takes for free.
    s.kind.store(kind, std::memory_order_release);
    link(index);
    return index;
}

void subject_table::link(uint32_t index)
{
    uint32_t& bucket = buckets_[records_[index].hash & bucket_mask_];
    records_[index].next = bucket;
    bucket = index;
    used_++;
}

void subject_table::remove(uint32_t index)
{
    uint32_t* at = &buckets_[records_[index].hash & bucket_mask_];
    while (*at != index) {
        at = &records_[*at].next;
    }
    records_[index].kind.store(subject_kind::none, std::memory_order_release);
    *at = records_[index].next;
    records_[index].next = free_;
    free_ = index;
    used_--;
}

void subject_table::rebuild()
{
    memset(buckets_, 0xff, (size_t{bucket_mask_} + 1) * sizeof(uint32_t));
    free_ = no_index;
    used_ = 0;
    for (uint32_t i = high_water_; i-- > 0;) {
        records_[i].in_flight = 0;
        if (records_[i].kind.load(std::memory_order_relaxed) == subject_kind::none) {
            records_[i].next = free_;
            free_ = i;
        } else {
            link(i);
        }
    }
}

} // namespace llm
