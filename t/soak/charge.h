// What the gateway may charge for a request, by docs/accounting.md: what the upstream told, and where it did
// not, between an eighth and a half of a token for each byte.
#pragma once

#include "plan.h"
#include "reply_script.h"

#include <cstddef>

namespace soak {

struct range {
    std::size_t low = 0;
    std::size_t high = 0;

    void widen(const range& other);
};

struct charge {
    range prompt;
    range completion;
    counts told; // of a whole reply: the other classes
    bool told_all = false;
    bool may_be_none = false; // nothing may be charged
    bool may_be_lost = false; // or so if the worker was killed
};

// What comes of the request alone is estimated from these.
struct asked_size {
    std::size_t body = 0;       // bytes
    std::size_t max_tokens = 0; // 0: not bounded
};

// Of a reply that came whole.
charge charge_of_whole(const script& s, const asked_size& asked);
// Of one of which the client has `least` pieces, and of which the upstream has begun to send `most`. Without
// a script: of one that has not come.
charge charge_of_part(const script* s, std::size_t least, std::size_t most, const asked_size& asked);

} // namespace soak
