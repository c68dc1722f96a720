// "Read the key files now, and tell what came of it": asked by any process, answered by the keeper.
//
// Lies in the shared zone; every function needs the zone's lock.
#pragma once

#include "file_fault.h"
#include "key_changes.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm {

// What came of it. Where a file is at fault, its old keys are in force, and what is said of the others holds.
struct keys_read {
    static constexpr size_t max_path = 512;

    uint64_t generation = 0; // of the keys in force
    uint32_t files = 0;
    uint32_t keys = 0;
    key_changes changes;
    uint32_t faults = 0; // files that have one,
    file_fault fault;    // and the first of those
    uint16_t path_size = 0;
    char path_bytes[max_path]; // its path, cut if it is longer

    std::string_view path() const { return {path_bytes, path_size}; }
    void add_fault(std::string_view path, const file_fault& what)
    {
        if (faults++ == 0) {
            fault = what;
            path_size = static_cast<uint16_t>(path.copy(path_bytes, max_path));
        }
    }
};

class key_mailbox {
public:
    // Asks. Returns the number of this request, to look for its answer.
    uint64_t ask() { return ++asked_; }
    // nullptr as long as there is none. It may be the answer to a later request as well. It is to be copied
    // before the lock is given back.
    const keys_read* answer(uint64_t number) const { return number <= answered_ ? &last_ : nullptr; }

    // --- the keeper

    // The last request that is not answered, 0 if there is none. Files are to be read after this is asked.
    uint64_t open_request() const { return asked_ > answered_ ? asked_ : 0; }
    // Answers it and all before it.
    void close(uint64_t number, const keys_read& what)
    {
        last_ = what;
        std::atomic_signal_fence(std::memory_order_seq_cst); // of a process killed here there is no answer
        answered_ = number;
    }

private:
    uint64_t asked_ = 0;
    uint64_t answered_ = 0;
    keys_read last_;
};

} // namespace llm
