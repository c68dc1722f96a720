// Requests that run: what they have used so far, in case all of nginx is killed.
#pragma once

#include "counters.h"
#include "database.h"
#include "zone_lock.h"

#include "core/shared/shared_state.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace llm {

struct running_request {
    uint32_t place;
    uint64_t serial;
    int64_t began_ms;
    std::string key, user, model; // as the book would have them
    token_counts used;
    uint64_t cost;
    std::string holds; // whom it is charged to

    // So much that a second's worth is less.
    bool is_long(int64_t now_ms) const
    {
        return began_ms + 1000 < now_ms && (used.prompt | used.completion) != 0;
    }
};

std::vector<running_request> copy_running(const shared_state& zone, const zone_lock& lock);

// Takes those out that have ended. True if a long one was among them.
bool drop_ended(std::vector<running_request>& from, const shared_state& zone, const zone_lock& lock,
                int64_t now_ms);

// As it was last written.
struct lost_request {
    int64_t updated_ms;
    std::string key, user, model;
    token_counts used;
    uint64_t cost;
    std::string holds;
};

// Replaces what is there of a zone: rows of their own, or of many one for all.
void put_running(database& db, int64_t zone, const std::vector<running_request>& all, int64_t now_ms);

std::vector<lost_request> read_running(database& db, int64_t zone);
void forget_running(database& db, int64_t zone);

// What a request that was lost adds to each whom it is charged to.
std::vector<subject_state> charges_of(std::string_view holds, const token_counts& used, uint64_t cost,
                                      int64_t at_ms);

} // namespace llm
