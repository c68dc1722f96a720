// Puts back what was kept of subjects outside of the zone.
//
// Every function needs the zone's lock.
#pragma once

#include "estimate.h"
#include "subject_state.h"
#include "subject_table.h"
#include "undo_journal.h"

#include <cstdint>

namespace llm {

class subject_import {
public:
    subject_import(subject_table& subjects, token_estimator& learned, undo_journal& journal)
        : subjects_(subjects), learned_(learned), journal_(journal)
    {
    }

    // Adds a state to what the subject has counted since: nothing that is there gets less. What flowed off
    // meanwhile, and windows that are over, are left out. `imported` becomes one more, in the same step.
    // False if there is no room for the subject, or if there can be no such subject.
    bool add(const subject_state& from, const moment& now, uint64_t& imported);

private:
    subject_table& subjects_;
    token_estimator& learned_;
    undo_journal& journal_;
};

} // namespace llm
