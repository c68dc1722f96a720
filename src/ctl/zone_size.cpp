#include "zone_size.h"

#include "core/shared/book.h"
#include "core/shared/shared_state.h"

#include <algorithm>

namespace llm::ctl {

namespace {

constexpr uint64_t kib = 1024;
constexpr uint64_t mib = kib * 1024;
constexpr uint64_t least_zone = 512 * kib; // that llm_zone takes
constexpr uint64_t largest_zone = mib * mib;

// What most keys take of a key table, and the table itself.
constexpr uint64_t bytes_of_key = 130;
constexpr uint64_t bytes_of_table = 4 * kib;

// What is in each table from the beginning: counts of no key and of `other`.
constexpr uint64_t first_series = 1;
constexpr uint64_t first_clients = 2;
constexpr uint64_t first_models = 2;

// A key may have a 16th of these (of clients an 8th), and few in any case: see book.h, subject_table.h.
uint64_t for_one(uint64_t wanted, uint64_t few, uint64_t part = 16)
{
    return wanted > few ? wanted * part : 0;
}

std::array<zone_part, 6> parts_of(const zone_needs& n)
{
    // Of a zone's counters at most half are for names that clients choose.
    const uint64_t names =
        std::max(n.all_models + n.addresses + n.named, for_one(n.models + n.named, subject_table::few_names));
    const uint64_t counters = std::max(n.keys + n.users + names + 1, 2 * names);
    // Of an application one for each user, and one for all others.
    const uint64_t used = n.used + n.named + (n.named != 0 ? 1 : 0);
    const uint64_t clients =
        std::max({used + first_clients, for_one(n.named, book::few_users, 8), 2 * n.named});
    // For each of them one more, for what fits no model.
    const uint64_t of_key = n.models + 1;
    const uint64_t series = std::max(used * of_key + first_series, for_one(of_key, book::few_series));
    const uint64_t models = std::max(n.all_models + first_models, for_one(n.models, book::few_models));
    const uint64_t keys = n.key_bytes != 0 ? n.key_bytes : n.keys * bytes_of_key + bytes_of_table;
    return {{{"requests", zone_areas::requests, n.requests, 0},
             {"counters", zone_areas::counters, counters, 0},
             {"series", zone_areas::series, series, 0},
             {"clients", zone_areas::clients, clients, 0},
             {"models", zone_areas::models, models, 0},
             {"keys", zone_areas::keys, keys, 0}}};
}

// What nginx leaves of a zone, at least: its page table takes less than a page for each 128.
uint64_t room_in(uint64_t zone_bytes)
{
    return zone_bytes - zone_bytes / 128 - 2 * 4096 - (sizeof(shared_state) + 63) / 64 * 64;
}

} // namespace

std::optional<zone_size> zone_size_for(const zone_needs& needs)
{
    zone_size size;
    size.parts = parts_of(needs);
    // With each step some parts may lose a little to others, so all of them are asked each time.
    for (uint64_t bytes = least_zone; bytes <= largest_zone; bytes += bytes < mib ? 64 * kib : mib) {
        const zone_areas::division division = zone_areas::divide(room_in(bytes));
        bool all = true;
        for (size_t i = 0; i < size.parts.size(); i++) {
            zone_part& part = size.parts[i];
            part.room = division.records[part.area];
            if (part.room < part.needed) {
                all = false;
                size.decides = i;
            }
        }
        if (all) {
            size.bytes = bytes;
            return size;
        }
    }
    return std::nullopt;
}

std::string zone_size_text(uint64_t bytes)
{
    return bytes % mib == 0 ? std::to_string(bytes / mib) + "m" : std::to_string(bytes / kib) + "k";
}

} // namespace llm::ctl
