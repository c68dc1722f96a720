#include "status_book.h"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

// Records that are read with the zone locked once: of series, which are added up only; and of those that are
// written.
constexpr size_t sums = max_slice_of_book;
constexpr size_t slice = 16;

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

void put_rates(json_writer& out, const zone_conf& zone, uint64_t last)
{
    constexpr size_t n = book_head::seconds;
    book_second seconds[n];
    for (size_t at = 0; at < n; at += sums) {
        zone_session session(zone);
        const auto& rates = session->counted().head().rates;
        std::copy_n(rates + at, std::min(sums, n - at), seconds + at);
    }
    std::sort(std::begin(seconds), std::end(seconds),
              [](const book_second& a, const book_second& b) { return a.second < b.second; });
    const uint64_t now = static_cast<uint64_t>(ngx_time());
    out.name("rates");
    out.begin_array();
    for (const book_second& s : seconds) {
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

bool book_report::model_sum::is_used() const
{
    return in_flight != 0
           || std::any_of(counts.requests.begin(), counts.requests.end(), [](uint64_t n) { return n != 0; });
}

progress book_report::put_slice(json_writer& out, const zone_conf& zone, ngx_pool_t* pool)
{
    bool done = true; // with this step
    switch (at_) {
    case step::begin:
        if (!begin(zone, pool)) {
            return progress::failed;
        }
        break;
    case step::series:
        done = add_series(zone);
        break;
    case step::flights: {
        const progress counted = count_flights(zone, pool);
        if (counted == progress::failed) {
            return counted;
        }
        done = counted == progress::done;
        break;
    }
    case step::totals:
        done = put_totals(out, zone);
        break;
    case step::refusals:
        done = put_refusals(out, zone);
        break;
    case step::models:
        done = put_models(out, zone);
        break;
    case step::end:
        break;
    }
    if (done && at_ != step::end) {
        at_ = static_cast<step>(static_cast<uint8_t>(at_) + 1);
    }
    return at_ == step::end ? progress::done : progress::more;
}

bool book_report::begin(const zone_conf& zone, ngx_pool_t* pool)
{
    const size_t n = zone.state->counted().models().high_water();
    auto* all = static_cast<model_sum*>(ngx_pcalloc(pool, n * sizeof(model_sum)));
    if (all) {
        sums_ = {all, n};
    }
    return all != nullptr;
}

bool book_report::add_series(const zone_conf& zone)
{
    const auto& series = zone.state->counted().series();
    zone_session session(zone);
    for (size_t i = 0; i < sums && next_ < series.high_water(); i++, next_++) {
        if (series.is_made(next_) && series.at(next_).model < sums_.size()) {
            sums_[series.at(next_).model].counts.add(series.at(next_).counts);
        }
    }
    return next_ == series.high_water();
}

progress book_report::count_flights(const zone_conf& zone, ngx_pool_t* pool)
{
    const progress counted = flights_.count(zone, pool);
    if (counted == progress::done) {
        for (const flight_group& g : flights_.groups()) {
            if (g.model < sums_.size()) {
                sums_[g.model].in_flight += g.requests;
            }
        }
    }
    return counted;
}

bool book_report::put_totals(json_writer& out, const zone_conf& zone)
{
    book_counts all{};
    for (const model_sum& sum : sums_) {
        all.add(sum.counts);
    }
    put_rates(out, zone, book_head::seconds);
    out.name("totals");
    out.begin_object();
    put_sum(out, all);
    out.end_object();
    return true;
}

bool book_report::add_refusals(const zone_conf& zone)
{
    std::array<client_copy, slice> copies;
    const size_t n = copy_clients(zone.state->counted(), cursor_, copies, zone_locker{zone});
    for (const client_copy& c : std::span(copies).first(n)) {
        for (size_t i = 0; i < refusal_reasons; i++) {
            refusals_[i] += c.refusals[i];
        }
    }
    return n == 0;
}

bool book_report::put_refusals(json_writer& out, const zone_conf& zone)
{
    if (!add_refusals(zone)) {
        return false;
    }
    out.name("refusals");
    out.begin_object();
    for (size_t i = 0; i < refusal_reasons; i++) {
        if (refusals_[i] != 0) {
            out.field(reason_name(i), refusals_[i]);
        }
    }
    out.end_object();
    put_sources(out, zone);
    out.name("models");
    out.begin_array();
    cursor_ = {};
    return true;
}

bool book_report::put_models(json_writer& out, const zone_conf& zone)
{
    std::array<model_copy, slice> copies;
    const size_t n = copy_models(zone.state->counted(), cursor_, copies, zone_locker{zone});
    if (n == 0) {
        out.end_array();
        return true;
    }
    for (const model_copy& m : std::span(copies).first(n)) {
        // One that was made meanwhile is in no sum yet.
        if (m.index >= sums_.size() || (m.index <= book::none && !sums_[m.index].is_used())) {
            continue;
        }
        out.begin_object();
        out.field("name", m.name());
        put_sum(out, sums_[m.index].counts);
        out.field("in_flight", sums_[m.index].in_flight);
        put_times(out, "duration_ms", m.duration);
        put_times(out, "time_to_first_token_ms", m.first_token);
        put_times(out, "time_per_output_token_us", m.token);
        out.end_object();
    }
    return false;
}

} // namespace llm
