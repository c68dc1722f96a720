// What became of each request, as its client and the upstream saw it.
#pragma once

#include "charge.h"
#include "plan.h"

#include <cstdint>
#include <deque>
#include <memory>

namespace soak {

struct entry {
    plan what;
    asked_size asked;
    std::size_t head = 0;   // bytes of the request's header
    bool head_sent = false; // the whole of it
    bool sent = false;      // the whole request
    bool reached = false;   // the upstream got it
    bool received = false;  // the client got the whole of a reply with status 200
    int status = 0;         // of a reply that came whole

    // The upstream's last reply that tells anything, as long as anybody is at it.
    std::unique_ptr<script> reply;
    std::size_t begun = 0; // pieces that the upstream has begun to send
    std::size_t got = 0;   // pieces that the client has
    bool altered = false;  // the client got other bytes than it should have

    bool tells = false; // there was such a reply
    bool ends_badly = false;
    charge whole; // what it costs if it came whole
    charge part;  // if not

    // The client has so much of a body with status 200.
    void note_received(const std::string& body, bool is_whole);
    // One more of the client and the upstream's connections is at it, or one less. Without any what it costs
    // is reckoned, and the reply is dropped.
    void hold() { users++; }
    void let_go();

private:
    unsigned users = 0;
};

// Request n is its n-th.
using ledger = std::deque<entry>;

} // namespace soak
