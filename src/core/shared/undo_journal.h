// What makes a change of several records whole: what is to be changed is kept here first, and put back if the
// process was killed before the change was done.
//
// Lies in the shared zone; needs the zone's lock. A killed process has carried out its stores up to some
// instruction, in the order of the program, so it is enough to keep the compiler from moving them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llm {

class undo_journal {
public:
    static constexpr size_t max_blocks = 20;
    static constexpr size_t max_bytes = 320;

    // To be called before a block is first changed. A change may keep up to max_blocks of them.
    void keep(void* at, size_t bytes)
    {
        uint32_t n = kept_.load(std::memory_order_relaxed);
        block& b = blocks_[n];
        b.at = at;
        b.bytes = bytes;
        memcpy(b.old, at, bytes);
        fence();
        kept_.store(n + 1, std::memory_order_relaxed);
        fence();
    }

    // The change is done.
    void commit()
    {
        fence();
        kept_.store(0, std::memory_order_relaxed);
        fence();
    }

    // Puts everything back as it was before a change that was cut short. Itself may be cut short.
    void roll_back()
    {
        for (uint32_t n = kept_.load(std::memory_order_relaxed); n-- > 0;) {
            memcpy(blocks_[n].at, blocks_[n].old, blocks_[n].bytes);
        }
        commit();
    }

private:
    static void fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

    // Each begins a cache line, so that a small one touches few.
    struct alignas(64) block {
        void* at;
        size_t bytes;
        alignas(16) uint8_t old[max_bytes];
    };

    std::atomic<uint32_t> kept_{0};
    block blocks_[max_blocks];
};

} // namespace llm
