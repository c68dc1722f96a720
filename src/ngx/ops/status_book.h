// What llm_status has out of the book: totals, rates, refusals, models.
#pragma once

#include "in_flight.h"
#include "json_writer.h"
#include "sliced_reply.h"

#include "core/base/token_counts.h"
#include "core/shared/book_export.h"
#include "ngx/zone.h"

#include <array>
#include <span>

namespace llm {

// Members of the object that is being written. All zero bytes are a valid initial state.
class book_report {
public:
    // `pool` is that of the first call. Takes the lock.
    progress put_slice(json_writer& out, const zone_conf& zone, ngx_pool_t* pool);

private:
    // What all series of a model add up to.
    struct model_sum {
        book_counts counts;
        uint32_t in_flight;

        bool is_used() const;
    };

    bool begin(const zone_conf& zone, ngx_pool_t* pool);
    bool add_series(const zone_conf& zone);
    progress count_flights(const zone_conf& zone, ngx_pool_t* pool);
    bool put_totals(json_writer& out, const zone_conf& zone);
    bool add_refusals(const zone_conf& zone);
    bool put_refusals(json_writer& out, const zone_conf& zone);
    bool put_models(json_writer& out, const zone_conf& zone);

    enum class step : uint8_t { begin, series, flights, totals, refusals, models, end };
    step at_ = step::begin;
    std::span<model_sum> sums_; // one for each place of the book's table of models
    uint32_t next_ = 0;         // series
    flight_count flights_{};
    book_cursor cursor_;
    std::array<uint64_t, refusal_reasons> refusals_{};
};

// The member `rates`: what happened in each of the last seconds; those in which nothing did may be left out.
void put_rates(json_writer& out, const zone_conf& zone, uint64_t last);

void put_tokens(json_writer& out, const token_counts& tokens);

} // namespace llm
