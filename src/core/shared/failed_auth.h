// Wrong keys, counted against the address that they come from.
#pragma once

#include "admission_request.h"
#include "undo_journal.h"

namespace llm {

// Counts a wrong key against the request's address. Says `limited` if there were too many, else `unknown`.
// Needs the zone's lock.
admission_result count_failed_auth(subject_table& subjects, undo_journal& journal,
                                   const admission_request& request);

} // namespace llm
