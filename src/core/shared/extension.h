// What a stream takes that outgrows what it holds.
//
// Every function needs the zone's lock.
#pragma once

#include "admission_request.h"
#include "undo_journal.h"

namespace llm {

class extension {
public:
    extension(subject_table& subjects, undo_journal& journal) : subjects_(subjects), journal_(journal) {}

    // A stream has used what it holds (only then): takes more from all rates and quotas of its lease,
    // whether they have it or not, and says whether they had. `key` may be nullptr: its limits are then the
    // location's.
    extension_result extend(lease& l, const admission_request& request, const shared_key* key, uint64_t more);

private:
    extension_result extend(lease& l, const admission_request& request, own_limits* own, uint64_t more);

    subject_table& subjects_;
    undo_journal& journal_;
};

} // namespace llm
