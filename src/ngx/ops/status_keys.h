// What llm_status has of keys: of all that are in force, those that are asked for.
#pragma once

#include "json_writer.h"
#include "sliced_reply.h"
#include "status_query.h"

#include "core/limit/limit_rules.h"
#include "core/shared/book_export.h"
#include "ngx/conf.h"

#include <array>
#include <span>

namespace llm {

struct key_copy;

// The members `matched` and `keys` of the object that is being written.
class key_list {
public:
    // All of these have to live as long as it does.
    key_list(main_conf& conf, const zone_conf& zone, const status_query& query, ngx_pool_t* pool)
        : conf_(conf), zone_(zone), query_(query), pool_(pool)
    {
    }

    // Takes the lock.
    progress put_slice(json_writer& out);

private:
    // A key that may be among those that are shown.
    struct candidate {
        uint64_t rank; // what it is sorted by, the largest first
        uint32_t file;
        uint32_t key; // of the file
        uint8_t name_len;
        char name[max_name];

        std::string_view text() const { return {name, name_len}; }
    };
    // One that is shown.
    struct shown_key {
        const candidate* key;
        std::array<uint64_t, refusal_reasons> refusals; // from the book
    };

    // Keys that are looked at, and that are copied, with the zone locked once.
    static constexpr size_t looks = 64;
    static constexpr size_t slice = 8;

    static bool comes_before(const candidate& a, const candidate& b);
    bool begin();
    bool look();
    bool look(std::span<candidate, looks> found, size_t& n);
    void keep(const candidate& c);
    bool sort();
    bool make_shown();
    bool add_refusals();
    bool put_keys(json_writer& out);
    size_t copy_keys(std::span<key_copy, slice> to);

    enum class step : uint8_t { begin, look, sort, shown, refusals, keys, end };

    main_conf& conf_;
    const zone_conf& zone_;
    const status_query& query_;
    ngx_pool_t* pool_;
    step at_ = step::begin;
    std::span<const limit_rule> rules_;
    uint64_t generation_ = 0;
    uint64_t matched_ = 0;
    uint32_t file_ = 0; // that is looked at next
    uint32_t next_ = 0;
    candidate* first_ = nullptr; // those that come first: a heap, whose top is the last one; then sorted
    size_t room_ = 0;
    size_t n_ = 0;
    size_t heap_ = 0;            // of these, those not sorted yet
    std::span<shown_key> shown_; // in their order,
    shown_key** by_name_ = nullptr;
    size_t put_ = 0;
    book_cursor cursor_;
};

// Whether a key of this name is in a file, or was and has its counters still.
bool key_exists(const zone_conf& zone, std::string_view name);

// The same key as an object. With `unknown` there is none, and nothing was written.
enum class key_put : uint8_t { done, unknown, no_memory };
key_put put_one_key(json_writer& out, main_conf& conf, const zone_conf& zone, std::string_view name,
                    ngx_pool_t* pool);

} // namespace llm
