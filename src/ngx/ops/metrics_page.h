// All metrics, slice by slice: a metric of all zones, then the next.
#pragma once

#include "in_flight.h"
#include "key_rules.h"

#include "core/base/metric_text.h"
#include "core/shared/book_export.h"
#include "core/shared/limit_state.h"
#include "ngx/chain_writer.h"
#include "ngx/conf.h"

#include <array>
#include <span>

namespace llm {

// Lives in the request's pool: nothing in it has to be destroyed.
class metrics_page {
public:
    metrics_page(ngx_http_request_t* r, chain_writer& out, metric_format format);

    std::string_view content_type() const { return text_.content_type(); }
    // Writes a little more. False if that was all.
    bool put_slice();
    // There was no memory.
    bool failed() const { return failed_; }

private:
    struct metric;
    static const metric all[];

    zone_conf& zone() const { return *zones_[zone_]; }
    bool has_many_zones() const { return zones_.size() > 1; }
    bool begin_zone();

    // Each writes a slice of one zone, and says whether that was its last.
    bool put_series(void (metrics_page::*put)(const series_copy&));
    void put_requests(const series_copy& s);
    void put_tokens(const series_copy& s);
    void put_cost(const series_copy& s);
    bool put_refusals();
    bool put_sources();
    bool put_in_flight();
    bool put_models(void (metrics_page::*put)(const model_copy&));
    void put_duration(const model_copy& m);
    void put_first_token(const model_copy& m);
    void put_token(const model_copy& m);
    bool put_own_time();
    bool put_limits(bool maximum);
    bool put_files(uint64_t (*value)(const file_entry&));
    bool put_state(uint64_t (*value)(const shared_state&));
    bool put_bytes();

    ngx_pool_t* pool_;
    metric_text<chain_writer> text_;
    std::span<zone_conf*> zones_;
    std::span<const limit_rule> rules_;
    bool failed_ = false;

    // How far it is.
    size_t metric_ = 0;
    bool begun_ = false; // the metric
    size_t zone_ = 0;
    bool in_zone_ = false;
    book_cursor cursor_;
    flight_count flights_;
    bool counted_ = false;             // these are
    size_t next_ = 0;                  // of them; of the keys of a file
    size_t file_ = 0;                  // of the keys
    uint64_t generation_ = 0;          // of these
    uint8_t* subjects_seen_ = nullptr; // bits, where several files may name a key

    // Of one slice.
    struct key_copy {
        size_t name_len;
        char name[max_name];
        size_t n;
        std::array<limit_state, max_limit_states> states;
    };
    static constexpr size_t max_records = 16; // of the book
    static constexpr size_t max_keys = 8;
    static constexpr size_t max_flights = 16;
    struct flight_copy {
        size_t key_len, user_len, model_len;
        char key[max_name], user[max_name], model[lease::max_model];
    };
    union {
        std::array<series_copy, max_records> series_;
        std::array<client_copy, max_records> clients_;
        std::array<model_copy, max_records> models_;
        std::array<key_copy, max_keys> keys_;
        std::array<flight_copy, max_flights> flight_names_;
    };
};

} // namespace llm
