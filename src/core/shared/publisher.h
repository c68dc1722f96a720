// Who may write a zone's next key table and put it in force: one process at a time, whichever comes first.
//
// Lies in the shared zone; every function needs the zone's lock.
#pragma once

#include "lease_owner.h"
#include "undo_journal.h"

#include <cstdint>

namespace llm {

class publisher {
public:
    // The right to publish, given once: who lost it cannot take its successor's for it. 0 = none.
    using ticket = uint64_t;

    // A ticket for `self`, or 0 if another has one, who is not `dead`. What `self` had before is void.
    ticket take(const lease_owner& self, const lease_owner& dead, undo_journal& journal);
    bool holds(ticket t) const { return t != 0 && holder_.pid != 0 && t == last_; }
    // Does nothing if it is not in force any more.
    void give(ticket t);
    // pid 0: nobody.
    const lease_owner& holder() const { return holder_; }

private:
    lease_owner holder_{};
    ticket last_ = 0;
};

} // namespace llm
