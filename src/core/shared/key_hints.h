// Where the keys of the files in force lie, for who does not hold the zone's lock: enough to have what a
// request will need on its way into the cache before the lock is taken.
//
// Lies in the shared zone. What is read through it may be written over at any moment, since the memory of a
// table is used again two publications later; but it stays memory of the zone, so that reading it is safe and
// only its meaning is not. Every number is checked before it is used, and nothing comes of it but prefetches.
#pragma once

#include "key_table.h"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace llm {

class key_hints {
public:
    // Files beyond these are looked up without a hint,
    static constexpr size_t max_files = 8;
    // and so are those whose keys are few enough to be in the cache.
    static constexpr uint32_t few_keys = 1024;

    // Needs the zone's lock. A process killed on the way leaves no hints, until the next call.
    void set(const key_table& table)
    {
        const uint32_t odd = version_.load(std::memory_order_relaxed) | 1;
        version_.store(odd, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release);
        size_t n = 0;
        for (const key_table::file_info& f : table.files()) {
            if (n == max_files) {
                break;
            }
            if (f.n_keys < few_keys) {
                continue;
            }
            hint& h = hints_[n++];
            h.id.store(f.id, std::memory_order_relaxed);
            h.slots.store(f.slots, std::memory_order_relaxed);
            h.keys.store(f.keys, std::memory_order_relaxed);
            h.digests.store(f.digests, std::memory_order_relaxed);
            h.slot_mask.store(f.slot_mask, std::memory_order_relaxed);
            h.n_keys.store(f.n_keys, std::memory_order_relaxed);
        }
        files_.store(static_cast<uint32_t>(n), std::memory_order_relaxed);
        version_.store(odd + 1, std::memory_order_release);
    }

    // The key that a digest most likely is, or nullptr; the digest is on its way as well. Whatever is read of
    // it may be nonsense.
    const shared_key* guess(uint64_t file, const digest& d) const
    {
        const uint32_t version = version_.load(std::memory_order_acquire);
        const uint32_t files = files_.load(std::memory_order_relaxed);
        if ((version & 1) != 0) {
            return nullptr;
        }
        for (size_t n = 0; n < files && n < max_files; n++) {
            const hint& h = hints_[n];
            if (h.id.load(std::memory_order_relaxed) != file) {
                continue;
            }
            const key_table::digest_slot* slots = h.slots.load(std::memory_order_relaxed);
            const shared_key* keys = h.keys.load(std::memory_order_relaxed);
            const key_table::stored_digest* digests = h.digests.load(std::memory_order_relaxed);
            const uint32_t mask = h.slot_mask.load(std::memory_order_relaxed);
            const uint32_t n_keys = h.n_keys.load(std::memory_order_relaxed);
            std::atomic_thread_fence(std::memory_order_acquire);
            if (version_.load(std::memory_order_relaxed) != version) {
                return nullptr;
            }
            const uint32_t key =
                __atomic_load_n(&slots[key_table::first_slot(d) & mask].key, __ATOMIC_RELAXED);
            if (key == 0 || key > n_keys) {
                return nullptr;
            }
            __builtin_prefetch(&digests[key - 1]);
            return &keys[key - 1];
        }
        return nullptr;
    }

private:
    struct hint {
        std::atomic<uint64_t> id;
        std::atomic<const key_table::digest_slot*> slots;
        std::atomic<const shared_key*> keys;
        std::atomic<const key_table::stored_digest*> digests;
        std::atomic<uint32_t> slot_mask;
        std::atomic<uint32_t> n_keys;
    };

    std::atomic<uint32_t> version_{0}; // odd while they are changed
    std::atomic<uint32_t> files_{0};
    hint hints_[max_files];
};

} // namespace llm
