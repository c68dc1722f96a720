#include "subject_table.h"

#include "bytes.h"

#include <bit>
#include <cstring>

namespace llm {

size_t subject_table::bytes(uint32_t capacity)
{
    return size_t{capacity} * sizeof(subject) + size_t{std::bit_ceil(capacity | 1)} * sizeof(uint32_t);
}

void subject_table::format(void* memory, uint32_t capacity, const hash_key& key)
{
    key_ = key;
    records_ = static_cast<subject*>(memory);
    buckets_ = reinterpret_cast<uint32_t*>(records_ + capacity);
    bucket_mask_ = std::bit_ceil(capacity | 1) - 1;
    capacity_ = capacity;
    high_water_ = 0;
    rebuild();
}

uint32_t subject_table::find(subject_kind kind, std::string_view name) const
{
    return kind == subject_kind::zone ? zone_ : find(kind, name, keyed_hash(name));
}

uint32_t subject_table::find(subject_kind kind, std::string_view name, uint64_t name_hash) const
{
    uint32_t hash = mixed(kind, name_hash);
    for (uint32_t i = buckets_[hash & bucket_mask_]; i != no_index; i = records_[i].next) {
        const subject& s = records_[i];
        if (s.hash == hash && s.kind.load(std::memory_order_relaxed) == kind && s.name_len == name.size()
            && same_bytes(s.name_bytes, name.data(), name.size())) {
            return i;
        }
    }
    return no_index;
}

uint32_t subject_table::find_or_make(subject_kind kind, std::string_view name, const moment& now)
{
    uint32_t index = find(kind, name);
    if (index != no_index || name.size() > max_name) {
        return index;
    }

    if (kind == subject_kind::guesser && guessers_ >= capacity_ / 8) {
        reuse_one(now);
        if (guessers_ >= capacity_ / 8) {
            return no_index;
        }
    }
    bool short_of_room = free_ == no_index && high_water_ == capacity_;
    bool beyond_half = named_by_clients(kind) && client_named_ >= capacity_ / 2;
    if ((short_of_room || beyond_half) && !reuse_one(now)) {
        return no_index;
    }
    if (free_ != no_index) {
        index = free_;
        free_ = records_[index].next;
    } else {
        index = high_water_++;
    }

    subject& s = records_[index];
    memset(static_cast<void*>(&s), 0, sizeof s);
    s.hash = mixed(kind, keyed_hash(name));
    s.name_len = static_cast<uint8_t>(name.size());
    name.copy(s.name_bytes, max_name);
    // Last, so that a process killed on the way leaves a record that rebuild() takes for free.
    s.kind.store(kind, std::memory_order_release);
    link(index);
    return index;
}

// Puts a record into its bucket, and into the ring behind the hand, where it is looked at last.
void subject_table::link(uint32_t index)
{
    subject& s = records_[index];
    uint32_t& bucket = buckets_[s.hash & bucket_mask_];
    s.next = bucket;
    bucket = index;
    used_++;
    const subject_kind kind = s.kind.load(std::memory_order_relaxed);
    if (!named_by_clients(kind)) {
        zone_ = kind == subject_kind::zone ? index : zone_;
        return;
    }
    if (hand_ == no_index) {
        s.ring = index;
    } else {
        s.ring = records_[hand_].ring;
        records_[hand_].ring = index;
    }
    hand_ = index;
    client_named_++;
    guessers_ += kind == subject_kind::guesser;
}

bool subject_table::reuse_one(const moment& now)
{
    for (uint32_t looks = 0; looks < max_looks && hand_ != no_index; looks++) {
        uint32_t index = records_[hand_].ring;
        if (!records_[index].at_rest(now)) {
            hand_ = index;
            continue;
        }
        if (index == hand_) {
            hand_ = no_index;
        } else {
            records_[hand_].ring = records_[index].ring;
        }
        client_named_--;
        guessers_ -= records_[index].kind.load(std::memory_order_relaxed) == subject_kind::guesser;
        remove(index);
        return true;
    }
    return false;
}

void subject_table::remove(uint32_t index)
{
    uint32_t* at = &buckets_[records_[index].hash & bucket_mask_];
    while (*at != index) {
        at = &records_[*at].next;
    }
    zone_ = index == zone_ ? no_index : zone_;
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
    client_named_ = 0;
    guessers_ = 0;
    zone_ = no_index;
    hand_ = no_index;
    for (uint32_t i = high_water_; i-- > 0;) {
        subject& s = records_[i];
        s.in_flight = 0;
        s.reserved = 0;
        if (s.kind.load(std::memory_order_relaxed) == subject_kind::none) {
            s.next = free_;
            free_ = i;
        } else {
            link(i);
        }
    }
}

} // namespace llm
