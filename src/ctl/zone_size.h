// How large a zone has to be for what a gateway has.
#pragma once

#include "core/shared/zone_areas.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llm::ctl {

struct zone_needs {
    uint64_t keys = 0;
    uint64_t key_bytes = 0;  // of their table; 0: as many as most keys take
    uint64_t users = 0;      // that they belong to
    uint64_t named = 0;      // users that applications name, as if all came by one key
    uint64_t used = 0;       // keys that are used
    uint64_t models = 0;     // that each of these uses
    uint64_t all_models = 0; // that they use together
    uint64_t requests = 0;   // in flight at once
    uint64_t addresses = 0;  // that limits count
};

struct zone_part {
    std::string_view name; // as llm_zone_bytes has it
    zone_areas::area area;
    uint64_t needed; // records; bytes of keys
    uint64_t room;   // how many the zone has
};

struct zone_size {
    uint64_t bytes = 0;
    std::array<zone_part, 6> parts; // those whose size matters
    // The last of them to have room as zones grow; none if the smallest zone will do.
    std::optional<size_t> decides;
};

// The smallest zone for these: whole 64 KiB below 1 MiB, and whole MiB from there on. Nothing if no zone is
// that large.
std::optional<zone_size> zone_size_for(const zone_needs& needs);

// As llm_zone takes it: "640k", "12m".
std::string zone_size_text(uint64_t bytes);

} // namespace llm::ctl
