// What a key table has that the one before it had not. May allocate.
#pragma once

#include "key_table.h"

#include <cstdint>

namespace llm {

struct key_changes {
    uint32_t added = 0;
    uint32_t removed = 0;
    uint32_t changed = 0; // of the same name: anything about them

    bool any() const { return (added | removed | changed) != 0; }
};

// Keys are told by file and name. Neither table may be written over meanwhile; `before` may be missing.
key_changes compare(const key_table* before, const key_table& after);

} // namespace llm
