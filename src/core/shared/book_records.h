// What the book is written in: who asks, what models there are, and what who has used of which.
//
// All of it lies in the shared zone.
#pragma once

#include "book_table.h"
#include "histogram.h"
#include "lease_table.h"
#include "request_end.h"

#include "core/api/refusal.h"
#include "core/base/token_counts.h"
#include "core/limit/scope.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// A key with its user.
struct alignas(16) book_client : book_record {
    bool gone; // it is in no key file any more
    uint8_t key_len;
    uint8_t user_len;
    bool named;      // its user is one that the key's application named, see user_from
    uint32_t series; // that it has: derived
    uint32_t models; // that it was the first to get an answer from: derived
    char key_bytes[max_name];
    char user_bytes[max_name];
    // Of a named one, the client of the same key for all others; of that, how many named ones it has:
    // derived.
    uint32_t rest;
    std::array<uint64_t, refusal_reasons> refusals;

    std::string_view key() const { return {key_bytes, key_len}; }
    std::string_view user() const { return {user_bytes, user_len}; }
};
static_assert(sizeof(book_client) == 352);

struct alignas(16) book_model : book_record {
    uint8_t name_len;
    uint32_t by;        // whose request made it: a client,
    uint64_t by_serial; // and its serial; 0 = nobody's
    char name_bytes[lease::max_model];
    histogram<duration_bounds> duration;       // of requests that were let in
    histogram<first_token_bounds> first_token; // of streams
    histogram<token_bounds> token;             // likewise

    std::string_view name() const { return {name_bytes, name_len}; }
};
static_assert(sizeof(book_model) == 608);

// What was used in a day or a month, UTC.
struct book_period {
    uint64_t requests;
    uint64_t prompt;
    uint64_t completion;
    uint64_t cost;
    uint32_t number; // of the day or the month, see quota_period()

    // What was used in the same period. Of two periods the later one stays.
    void add(const book_period& more)
    {
        if (more.number > number) {
            *this = more;
        } else if (more.number == number) {
            requests += more.requests;
            prompt += more.prompt;
            completion += more.completion;
            cost += more.cost;
        }
    }
};

struct book_counts {
    std::array<uint64_t, outcomes> requests; // see index_of()
    token_counts tokens;
    uint64_t cost;     // weighted tokens
    uint64_t ms;       // all durations
    uint64_t first_ms; // all times to the first content,
    uint64_t firsts;   // of so many
    book_period day;
    book_period month;

    void add(const book_counts& more)
    {
        for (size_t i = 0; i < outcomes; i++) {
            requests[i] += more.requests[i];
        }
        tokens.add(more.tokens);
        cost += more.cost;
        ms += more.ms;
        first_ms += more.first_ms;
        firsts += more.firsts;
        day.add(more.day);
        month.add(more.month);
    }
};

struct alignas(64) book_series : book_record {
    uint32_t client;
    uint32_t model;
    uint64_t changed; // the book's mark when it last changed
    book_counts counts;
};
static_assert(sizeof(book_series) == 256);

// What happened in one second.
struct book_second {
    uint64_t second; // since 1970
    uint32_t requests;
    uint32_t refused;
    uint64_t prompt;
    uint64_t completion;
};

// What there is one of.
struct book_head {
    static constexpr size_t seconds = 300;

    int64_t made_ms; // wall clock, since 1970
    std::array<uint64_t, usage_sources> sources;
    histogram<gateway_bounds> gateway;
    book_second rates[seconds];
};

} // namespace llm
