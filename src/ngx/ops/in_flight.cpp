#include "in_flight.h"

#include <algorithm>
#include <tuple>

namespace llm {

namespace {

constexpr uint32_t slice = 64;

auto order(const flight_group& g)
{
    return std::tuple(g.key, g.user, g.model);
}

// From lease `at` on, which it moves.
size_t copy_leases(const zone_conf& zone, uint32_t& at, uint32_t end, flight_group* to)
{
    zone_session session(zone);
    const lease_table& leases = session->leases();
    const book& counted = session->counted();
    size_t n = 0;
    for (uint32_t looked = 0; looked < 4 * slice && n < slice && at < end; looked++, at++) {
        const lease& l = leases.at(at);
        if (lease::is_counted(l.is)) {
            const uint32_t model = counted.find_model(session->names_of(l));
            to[n++] = {l.key(), l.user(), model != no_index ? model : book::other, 1};
        }
    }
    return n;
}

} // namespace

std::span<flight_group> count_in_flight(const zone_conf& zone, ngx_pool_t* pool)
{
    const uint32_t end = zone.state->leases().high_water();
    auto* groups = static_cast<flight_group*>(ngx_palloc(pool, (size_t{end} + 1) * sizeof(flight_group)));
    if (!groups) {
        return {};
    }
    size_t n = 0;
    for (uint32_t at = 0; at < end;) {
        n += copy_leases(zone, at, end, groups + n);
    }
    std::sort(groups, groups + n,
              [](const flight_group& a, const flight_group& b) { return order(a) < order(b); });
    size_t last = 0;
    for (size_t i = 1; i < n; i++) {
        if (order(groups[i]) == order(groups[last])) {
            groups[last].requests++;
        } else {
            groups[++last] = groups[i];
        }
    }
    return {groups, n == 0 ? 0 : last + 1};
}

} // namespace llm
