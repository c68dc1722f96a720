// Which keys were let in from which addresses lately, so that too many wrong keys from an address do not keep
// out those whose home it is.
//
// It is a hint of fixed size: what does not fit pushes out what was not seen for the longest time. Needs no
// lock: each of its words is whole by itself, and a word that two processes write at once is one of theirs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace llm {

// All zero bytes are a valid initial state: nobody is known.
class known_callers {
public:
    static constexpr size_t sets = 128;
    static constexpr size_t places = 8;             // of a set, which is one cache line
    static constexpr int64_t lasts_hours = 30 * 24; // how long a key is known that is not used

    // `caller` is a keyed hash of the key and the address, and odd; `now_ms` the time of day.
    bool knows(uint64_t caller, int64_t now_ms) const;
    void note(uint64_t caller, int64_t now_ms);

private:
    // The upper bits of the hash, and the hour in which it was seen last.
    static constexpr unsigned hour_bits = 24;
    static constexpr uint64_t hour_mask = (uint64_t{1} << hour_bits) - 1;

    struct alignas(64) set {
        std::atomic<uint64_t> seen[places];
    };

    // By bits that the word does not keep.
    static size_t set_of(uint64_t caller) { return (caller >> 1) % sets; }
    static uint64_t hour_of(int64_t now_ms) { return static_cast<uint64_t>(now_ms / 3'600'000) & hour_mask; }

    static_assert(sets < hour_mask >> 1);

    set sets_[sets];
};

} // namespace llm
