#include "holds.h"

#include "bench/load/net.h"

#include <algorithm>
#include <cstdio>
#include <poll.h>

namespace soak {

namespace {

// Only a limit that is exceeded waits for so long, or a machine that does nothing at all.
constexpr std::int64_t patience_ms = 3000;
// After so many times that is sure, and nobody waits any more.
constexpr std::uint64_t sure = 3;

} // namespace

holds::holds(const limit_set& limits, std::function<void()> look) : limits_(limits), look_(std::move(look))
{
    for (unsigned of = 0; of < scopes; of++) {
        held_[of].resize(subjects[of]);
    }
}

bool holds::over(const subject_set& who) const
{
    for (unsigned of = 0; of < scopes; of++) {
        if (held_[of][who[of]] > limits_[of]) {
            return true;
        }
    }
    return false;
}

void holds::look_again(const subject_set& who)
{
    const std::int64_t start = bench::now_ms();
    second_looks_++;
    for (look_(); over(who); look_()) {
        if (exceeded_ >= sure || bench::now_ms() - start > patience_ms) {
            for (unsigned of = 0; of < scopes && exceeded_ < sure; of++) {
                std::fprintf(stderr, "%s %u: %u of %u at once\n", scope_names[of], who[of],
                             held_[of][who[of]], limits_[of]);
            }
            exceeded_++;
            break;
        }
        ::poll(nullptr, 0, 1);
    }
    longest_look_ms_ = std::max(longest_look_ms_, bench::now_ms() - start);
}

void holds::begin(const subject_set& who)
{
    for (unsigned of = 0; of < scopes; of++) {
        held_[of][who[of]]++;
    }
    if (over(who)) {
        look_again(who);
    }
    for (unsigned of = 0; of < scopes; of++) {
        const unsigned held = held_[of][who[of]];
        peak_[of] = std::max(peak_[of], held);
        at_limit_[of] += held == limits_[of];
    }
}

void holds::end(const subject_set& who)
{
    for (unsigned of = 0; of < scopes; of++) {
        held_[of][who[of]]--;
    }
}

} // namespace soak
