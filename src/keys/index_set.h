// A hash set of indexes into a vector that others own. Spares a copy of what is compared, and a node for
// each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace llm {

class index_set {
public:
    // Adds `index` unless one is there for which `equal(there)` holds: then returns that. Equal things must
    // have equal hashes. `index` is below 2^32 - 1.
    template <typename Equal>
    std::optional<uint32_t> insert(uint64_t hash, uint32_t index, Equal equal)
    {
        if (used * 4 >= slots.size() * 3) {
            grow();
        }
        // Weak hashes (std::hash of an integer) are spread over the whole word.
        const auto tag = static_cast<uint32_t>(hash * 0x9e3779b97f4a7c15 >> 32);
        size_t at = tag & (slots.size() - 1);
        for (; slots[at].index != empty; at = (at + 1) & (slots.size() - 1)) {
            if (slots[at].tag == tag && equal(slots[at].index)) {
                return slots[at].index;
            }
        }
        slots[at] = {tag, index};
        used++;
        return std::nullopt;
    }

private:
    static constexpr uint32_t empty = UINT32_MAX;
    struct slot {
        uint32_t tag = 0;
        uint32_t index = empty;
    };

    void grow()
    {
        std::vector<slot> old(slots.empty() ? 64 : slots.size() * 2);
        old.swap(slots);
        for (const slot& each : old) {
            if (each.index != empty) {
                size_t at = each.tag & (slots.size() - 1);
                while (slots[at].index != empty) {
                    at = (at + 1) & (slots.size() - 1);
                }
                slots[at] = each;
            }
        }
    }

    std::vector<slot> slots;
    size_t used = 0;
};

} // namespace llm
