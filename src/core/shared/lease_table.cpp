#include "lease_table.h"

#include <algorithm>

namespace llm {

uint64_t weighted(const token_counts& tokens, const usage_weights& weights)
{
    uint64_t cached = std::min(tokens.cached, tokens.prompt);
    unsigned __int128 sum = static_cast<unsigned __int128>(tokens.prompt - cached) * weights.prompt
                            + static_cast<unsigned __int128>(cached) * weights.cached
                            + static_cast<unsigned __int128>(tokens.completion) * weights.completion;
    // The usual case without a division of 128 bits.
    if (sum <= UINT64_MAX - 999) {
        return (static_cast<uint64_t>(sum) + 999) / 1000;
    }
    sum = (sum + 999) / 1000;
    return sum > forever ? forever : static_cast<uint64_t>(sum);
}

void lease_table::format(void* memory, uint32_t capacity)
{
    records_ = static_cast<lease*>(memory);
    capacity_ = capacity;
    high_water_.store(0, std::memory_order_relaxed);
    last_serial_ = 0;
    rebuild();
}

lease* lease_table::take()
{
    uint32_t index = free_;
    if (index != no_index) {
        free_ = records_[index].next_free;
    } else {
        index = high_water_.load(std::memory_order_relaxed);
        if (index == capacity_) {
            return nullptr;
        }
        high_water_.store(index + 1, std::memory_order_release);
        count(lease::state::free)++;
    }
    records_[index].serial = ++last_serial_;
    return &records_[index];
}

void lease_table::give(lease& l)
{
    become(l, lease::state::free);
    l.next_free = free_;
    free_ = index_of(l);
}

void lease_table::rebuild()
{
    free_ = no_index;
    std::fill(std::begin(counts_), std::end(counts_), 0);
    for (uint32_t i = high_water(); i-- > 0;) {
        const lease::state is = records_[i].is.load(std::memory_order_relaxed);
        count(is)++;
        if (!lease::is_taken(is)) {
            records_[i].next_free = free_;
            free_ = i;
        }
    }
}

} // namespace llm
