#include "in_flight.h"

#include <algorithm>
#include <array>
#include <bit>

namespace llm {

namespace {

// Leases that are counted, and that are looked at, with the zone locked once.
constexpr size_t most = 32;
constexpr uint32_t looks = 256;

uint32_t hash_of(const flight_group& g)
{
    const uint64_t mixed = ((uint64_t{g.key} << 32 | g.model) ^ uint64_t{g.user} << 13) * 0x9e3779b97f4a7c15u;
    return static_cast<uint32_t>(mixed >> 32);
}

// From lease `at` on, which it moves.
size_t copy_leases(const zone_conf& zone, uint32_t& at, uint32_t end, std::span<flight_group, most> to)
{
    zone_session session(zone);
    const lease_table& leases = session->leases();
    const book& counted = session->counted();
    size_t n = 0;
    for (uint32_t looked = 0; looked < looks && n < most && at < end; looked++, at++) {
        const lease& l = leases.at(at);
        if (lease::is_counted(l.is)) {
            const book_names names = session->names_of(l);
            const uint32_t model = counted.find_model(names);
            const bool shares = names.named_user && names.user == book::other_name;
            to[n++] = {l.key(), shares ? flight_group::other_users : l.user(),
                       model != no_index ? model : book::other, 1};
        }
    }
    return n;
}

} // namespace

bool flight_count::begin(const zone_conf& zone, ngx_pool_t* pool)
{
    end_ = zone.state->leases().high_water();
    // At most half of the places are taken.
    mask_ = std::bit_ceil(2 * (end_ + 1)) - 1;
    groups_ = static_cast<flight_group*>(ngx_pcalloc(pool, (size_t{mask_} + 1) * sizeof(flight_group)));
    return groups_ != nullptr;
}

progress flight_count::count(const zone_conf& zone, ngx_pool_t* pool)
{
    if (!groups_ && !begin(zone, pool)) {
        return progress::failed;
    }
    std::array<flight_group, most> found;
    const size_t n = copy_leases(zone, next_, end_, found);
    for (const flight_group& one : std::span(found).first(n)) {
        add(one);
    }
    if (next_ < end_) {
        return progress::more;
    }
    close_up();
    return progress::done;
}

void flight_count::add(const flight_group& one)
{
    uint32_t at = hash_of(one);
    for (;; at++) {
        flight_group& g = groups_[at & mask_];
        if (g.requests == 0) {
            g = one;
            return;
        }
        if (g.key == one.key && g.user == one.user && g.model == one.model) {
            g.requests++;
            return;
        }
    }
}

void flight_count::close_up()
{
    flight_group* const end =
        std::remove_if(groups_, groups_ + mask_ + 1, [](const flight_group& g) { return g.requests == 0; });
    n_ = static_cast<size_t>(end - groups_);
}

} // namespace llm
