#include "status_book.h"

#include "in_flight.h"

#include "core/shared/book_export.h"

#include <algorithm>
#include <array>
#include <span>

namespace llm {

namespace {

// Seconds, and series, that are read with the zone locked once.
constexpr size_t slice = max_slice_of_book;

// What all series of a model add up to.
struct model_sum {
    book_counts counts;
    uint32_t in_flight;

    bool is_used() const
    {
        return in_flight != 0 || std::any_of(counts.requests.begin(), counts.requests.end(), [](uint64_t n) {
                   return n != 0;
               });
    }
};

void put_sum(json_writer& out, const book_counts& sum)
{
    out.name("requests");
    out.begin_object();
    for (size_t i = 0; i < outcomes; i++) {
        out.field(outcome_name(static_cast<outcome>(i + 1)), sum.requests[i]);
    }
    out.end_object();
    put_tokens(out, sum.tokens);
    out.field("cost", sum.cost);
}

// One for each place of the book's table of models.
std::span<model_sum> sums_of(const zone_conf& zone, ngx_pool_t* pool)
{
    const book& counted = zone.state->counted();
    const size_t n = counted.models().high_water();
    auto* sums = static_cast<model_sum*>(ngx_pcalloc(pool, n * sizeof(model_sum)));
    if (!sums) {
        return {};
    }
    const auto& series = counted.series();
    for (uint32_t at = 0; at < series.high_water();) {
        zone_session session(zone);
        for (size_t i = 0; i < slice && at < series.high_water(); i++, at++) {
            if (series.is_made(at) && series.at(at).model < n) {
                sums[series.at(at).model].counts.add(series.at(at).counts);
            }
        }
    }
    return {sums, n};
}

bool put_refusals(json_writer& out, const zone_conf& zone, ngx_pool_t* pool)
{
    auto* copies = static_cast<client_copy*>(ngx_palloc(pool, slice * sizeof(client_copy)));
    if (!copies) {
        return false;
    }
    std::array<uint64_t, refusal_reasons> sums{};
    book_cursor at;
    while (const size_t n = copy_clients(zone.state->counted(), at, {copies, slice}, zone_locker{zone})) {
        for (const client_copy& c : std::span(copies, n)) {
            for (size_t i = 0; i < refusal_reasons; i++) {
                sums[i] += c.refusals[i];
            }
        }
    }
    out.name("refusals");
    out.begin_object();
    for (size_t i = 0; i < refusal_reasons; i++) {
        if (sums[i] != 0) {
            out.field(reason_name(i), sums[i]);
        }
    }
    out.end_object();
    return true;
}

void put_sources(json_writer& out, const zone_conf& zone)
{
    std::array<uint64_t, usage_sources> sources;
    {
        zone_session session(zone);
        sources = session->counted().head().sources;
    }
    out.name("usage_sources");
    out.begin_object();
    for (size_t i = 0; i < usage_sources; i++) {
        out.field(usage_source_name(static_cast<usage_source>(i)), sources[i]);
    }
    out.end_object();
}

// In the bounds' unit, as if the values of a bucket were spread evenly over it; what is above the last bound
// counts as that bound.
uint64_t quantile(std::span<const uint64_t> counts, std::span<const uint32_t> bounds, uint64_t all,
                  uint64_t percent)
{
    const uint64_t rank = std::max<uint64_t>((all * percent + 99) / 100, 1);
    uint64_t before = 0;
    for (size_t i = 0; i < bounds.size(); i++) {
        const uint64_t n = counts[i];
        if (before + n >= rank) {
            const uint64_t low = i != 0 ? bounds[i - 1] : 0;
            return low + (bounds[i] - low) * (rank - before) / n;
        }
        before += n;
    }
    return bounds.back();
}

// A time in `units` of which there are so many in a second.
template <const auto& Bounds>
void put_times(json_writer& out, std::string_view name, const histogram<Bounds>& times)
{
    uint64_t all = 0;
    for (uint64_t n : times.counts) {
        all += n;
    }
    out.name(name);
    out.begin_object();
    out.field("count", all);
    out.field("sum", times.sum);
    for (const auto& [field, percent] :
         {std::pair<std::string_view, uint64_t>{"p50", 50}, {"p95", 95}, {"p99", 99}}) {
        if (all != 0) {
            out.field(field, quantile(times.counts, Bounds.bounds, all, percent));
        } else {
            out.null(field);
        }
    }
    out.end_object();
}

bool put_models(json_writer& out, const zone_conf& zone, ngx_pool_t* pool, std::span<const model_sum> sums)
{
    auto* copies = static_cast<model_copy*>(ngx_palloc(pool, slice * sizeof(model_copy)));
    if (!copies) {
        return false;
    }
    out.name("models");
    out.begin_array();
    book_cursor at;
    while (const size_t n = copy_models(zone.state->counted(), at, {copies, slice}, zone_locker{zone})) {
        for (const model_copy& m : std::span(copies, n)) {
            // One that was made meanwhile is in no sum yet.
            if (m.index >= sums.size() || (m.index <= book::none && !sums[m.index].is_used())) {
                continue;
            }
            out.begin_object();
            out.field("name", m.name());
            put_sum(out, sums[m.index].counts);
            out.field("in_flight", sums[m.index].in_flight);
            put_times(out, "duration_ms", m.duration);
            put_times(out, "time_to_first_token_ms", m.first_token);
            put_times(out, "time_per_output_token_us", m.token);
            out.end_object();
        }
    }
    out.end_array();
    return true;
}

} // namespace

void put_tokens(json_writer& out, const token_counts& tokens)
{
    out.field("prompt_tokens", tokens.prompt);
    out.field("cached_tokens", tokens.cached);
    out.field("cache_write_tokens", tokens.cache_write);
    out.field("completion_tokens", tokens.completion);
    out.field("reasoning_tokens", tokens.reasoning);
    out.field("total_tokens", tokens.prompt + tokens.completion);
}

void put_rates(json_writer& out, const zone_conf& zone, ngx_pool_t* pool, uint64_t last)
{
    constexpr size_t n = book_head::seconds;
    auto* seconds = static_cast<book_second*>(ngx_palloc(pool, n * sizeof(book_second)));
    if (!seconds) {
        return;
    }
    for (size_t at = 0; at < n; at += slice) {
        zone_session session(zone);
        const auto& rates = session->counted().head().rates;
        std::copy_n(rates + at, std::min(slice, n - at), seconds + at);
    }
    std::sort(seconds, seconds + n,
              [](const book_second& a, const book_second& b) { return a.second < b.second; });
    const uint64_t now = static_cast<uint64_t>(ngx_time());
    out.name("rates");
    out.begin_array();
    for (const book_second& s : std::span(seconds, n)) {
        if (s.second + last <= now || s.second > now) {
            continue;
        }
        out.begin_object();
        out.field("second", s.second);
        out.field("requests", s.requests);
        out.field("refused", s.refused);
        out.field("prompt_tokens", s.prompt);
        out.field("completion_tokens", s.completion);
        out.end_object();
    }
    out.end_array();
}

bool put_book(json_writer& out, const zone_conf& zone, ngx_pool_t* pool)
{
    const std::span<model_sum> sums = sums_of(zone, pool);
    if (sums.empty()) {
        return false;
    }
    for (const flight_group& g : count_in_flight(zone, pool)) {
        if (g.model < sums.size()) {
            sums[g.model].in_flight += g.requests;
        }
    }
    book_counts all{};
    for (const model_sum& sum : sums) {
        all.add(sum.counts);
    }
    put_rates(out, zone, pool, book_head::seconds);
    out.name("totals");
    out.begin_object();
    put_sum(out, all);
    out.end_object();
    if (!put_refusals(out, zone, pool)) {
        return false;
    }
    put_sources(out, zone);
    return put_models(out, zone, pool, sums);
}

} // namespace llm
