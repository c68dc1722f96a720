// What became of each request, as its client and the upstream saw it.
#pragma once

#include "plan.h"

#include <cstdint>
#include <deque>

namespace soak {

struct entry {
    plan what;
    bool sent = false;     // the whole of it
    bool reached = false;  // the upstream got it
    unsigned tokens = 0;   // of the upstream's last reply to it, which may have been cut
    bool received = false; // the client got the whole of a reply with status 200
    int status = 0;        // of a reply that came whole
};

// Request n is its n-th.
using ledger = std::deque<entry>;

} // namespace soak
