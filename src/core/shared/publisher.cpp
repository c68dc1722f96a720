#include "publisher.h"

namespace llm {

publisher::ticket publisher::take(const lease_owner& self, const lease_owner& dead, undo_journal& journal)
{
    if (holder_.pid != 0 && holder_ != self && holder_ != dead) {
        return 0;
    }
    journal.keep(this, sizeof *this);
    holder_ = self;
    last_++;
    journal.commit();
    return last_;
}

void publisher::give(ticket t)
{
    if (holds(t)) {
        holder_.pid = 0;
    }
}

} // namespace llm
