// Wrong keys, counted against the address that they come from.
#pragma once

#include "admission_request.h"
#include "undo_journal.h"

namespace llm {

// Says `limited` if there were too many wrong keys from the request's address, else `unknown`. Changes
// nothing. Needs the zone's lock.
admission_result look_at_failed_auth(const subject_table& subjects, const admission_request& request);
// Counts a wrong key against the request's address. Says `limited` if there were too many, else `unknown`.
// Needs the zone's lock.
admission_result count_failed_auth(subject_table& subjects, undo_journal& journal,
                                   const admission_request& request);

} // namespace llm
