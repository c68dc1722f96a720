// What a file looks like from outside, to see whether it is another one or has other text.
#pragma once

#include <cstdint>

namespace llm {

struct file_stamp {
    uint64_t device = 0;
    uint64_t inode = 0;
    uint64_t size = 0;
    int64_t modified_ns = 0; // its text; since 1970
    int64_t changed_ns = 0;  // its text, mode, owner or name
    int error = 0;           // of the system, where there is nothing to see

    bool operator==(const file_stamp&) const = default;
};

} // namespace llm
