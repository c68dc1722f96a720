// What the end of a request changes.
//
// Every function needs the zone's lock.
#pragma once

#include "book.h"
#include "lease_table.h"
#include "subject_table.h"
#include "undo_journal.h"

#include "core/base/token_counts.h"

namespace llm {

class settlement {
public:
    settlement(subject_table& subjects, lease_table& leases, book& counted, undo_journal& journal)
        : subjects_(subjects), leases_(leases), book_(counted), journal_(journal)
    {
    }

    // Ends a lease: whoever it names is charged with what was used, what it held is given back, and the book
    // has it under `names`, which are the lease's.
    void settle(lease& l, const token_counts& used, const moment& now, const request_end& end,
                const book_names& names);

    // Adds what a lease holds to what is derived from the leases.
    void count_holds(const lease& l);

private:
    subject_table& subjects_;
    lease_table& leases_;
    book& book_;
    undo_journal& journal_;
};

} // namespace llm
