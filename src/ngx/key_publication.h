// From checked records to keys in force: what a reload (zone.cpp) and the keeper (keeper/key_watch.cpp) have
// in common.
#pragma once

#include "zone.h"

#include <functional>
#include <optional>
#include <string>

namespace llm {

// What the zone lacks to hold these keys, as a sentence for the log; nothing if it has room. Every key and
// every user may need a record of its own, so that no request is refused for want of one: `subjects` is their
// number.
std::optional<std::string> lack_of_room(const zone_conf& zone, std::span<const key_file* const> files,
                                        size_t& subjects);

// The right to write the next key table; 0 if another process has it. Takes the lock.
publisher::ticket try_begin_staging(zone_conf& zone);

// Something to be done to the zone because there are other keys.
struct key_followup {
    enum class kind : uint8_t {
        name_model,  // it has counts of its own from the beginning
        mark_client, // what is counted for it may make room for others, or no more
        drop_subject // a key's or a user's counters, which nobody needs: room is scarce
    };

    kind what;
    uint32_t index = 0;         // of the client or the subject
    uint64_t serial = 0;        // of the client
    bool gone = false;          // the client
    subject_kind whose{};       // the subject's
    std::string_view name = {}; // of the model or the subject
};

// Tells what is to be done once `next` is in force, which may be so already. Returns how many subjects are
// needed, but for those that follow_up() does not drop. Reads the zone without its lock: nobody but the
// caller may publish meanwhile, and what else changes is seen by follow_up(). May take seconds and hundreds
// of megabytes with a million keys.
size_t plan_followups(const shared_state& state, const key_table& next, size_t needed_by_keys,
                      const std::function<void(const key_followup&)>& tell);
// Does it, where it is still to be done; false if a subject could not be dropped. Takes the lock.
bool follow_up(const zone_conf& zone, const key_followup& step);
// Gives the ticket back. Takes the lock.
void finish_publication(zone_conf& zone, publisher::ticket ticket, size_t needed_subjects);

} // namespace llm
