// How many requests of each subject the upstream holds at once, held against the limits.
#pragma once

#include "plan.h"

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

namespace soak {

using limit_set = std::array<unsigned, scopes>;

// What is promised: a request is let in only while fewer than N of its subject hold a lease, and a lease
// begins before nginx connects to the upstream and ends after nginx has closed that connection (or has the
// upstream's whole reply). So at any moment at most N connections carry requests of one subject. The upstream
// can see more than N only because it learns of a request before it looks at another connection that nginx
// has closed already. Hence each time that it sees more than N it looks at all its connections, while it
// and the clients, which are in the same process, stand still: nobody lets go of anything then but nginx.
// What nginx has closed is there at once, or after a moment if the kernel is behind. Where it does not come
// down to N, more than N leases are held.
class holds {
public:
    // `look` ends the connections that nginx has closed, by calling end() for what they hold.
    holds(const limit_set& limits, std::function<void()> look);

    void begin(const subject_set& who);
    void end(const subject_set& who);

    std::uint64_t exceeded() const { return exceeded_; }
    // So often the second look was needed, and so long it took at most.
    std::uint64_t second_looks() const { return second_looks_; }
    std::int64_t longest_look_ms() const { return longest_look_ms_; }
    // The most that one subject of this scope held, and how often one came to hold as many as its limit.
    unsigned peak(unsigned of) const { return peak_[of]; }
    std::uint64_t times_at_limit(unsigned of) const { return at_limit_[of]; }
    unsigned now() const { return held_[by_zone][0]; }

private:
    bool over(const subject_set& who) const;
    void look_again(const subject_set& who);

    const limit_set limits_;
    const std::function<void()> look_;
    std::array<std::vector<unsigned>, scopes> held_;
    std::array<unsigned, scopes> peak_{};
    std::array<std::uint64_t, scopes> at_limit_{};
    std::uint64_t exceeded_ = 0;
    std::uint64_t second_looks_ = 0;
    std::int64_t longest_look_ms_ = 0;
};

} // namespace soak
