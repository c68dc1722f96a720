// What a key, a plan or a location may be limited to. Values only; what enforces them lives elsewhere.
#pragma once

#include <cstdint>

namespace llm {

// Saturating: what does not fit is for ever.
inline constexpr uint64_t forever = UINT64_MAX;

inline constexpr uint64_t add_up(uint64_t a, uint64_t b)
{
    uint64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) [[unlikely]] {
        return forever;
    }
    return sum;
}

inline constexpr uint64_t multiply_up(uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) [[unlikely]] {
        return forever;
    }
    return product;
}

// `amount` events every `period_ms` milliseconds; amount 0 = not given.
struct rate {
    uint64_t amount = 0;
    uint64_t period_ms = 0;
    // Of one event, at least 1: divided out once, since every request would. Rounded up: a limit is never
    // exceeded, but a rate near 10^9 in a second can be much lower than asked for.
    uint64_t interval_ns = 0;

    constexpr rate() = default;
    constexpr rate(uint64_t events, uint64_t every_ms) : amount(events), period_ms(every_ms)
    {
        if (amount != 0) {
            uint64_t period_ns = multiply_up(period_ms, 1000000);
            uint64_t interval = period_ns / amount + (period_ns % amount != 0);
            interval_ns = interval > 1 ? interval : 1;
        }
    }

    bool operator==(const rate&) const = default;
};

// Calendar windows of a quota, UTC; `total` never ends.
enum class quota_window : uint8_t { none, hour, day, week, month, total };

// What is not given stays at its initial value and is taken from the next in the order of precedence (the
// key's `limits`, its plan, the location). A given burst or concurrency may be 0, hence -1 for "not given".
struct limits {
    rate requests;
    int64_t burst = -1; // requests at once, beside the first
    int64_t concurrency = -1;
    rate tokens;
    int64_t token_burst = -1;
    uint64_t quota = 0;
    quota_window window = quota_window::none;
    rate failures; // wrong keys from one address; as many as in one period at once

    bool any() const
    {
        return requests.amount || tokens.amount || burst >= 0 || concurrency >= 0 || token_burst >= 0
               || window != quota_window::none || failures.amount;
    }

    bool operator==(const limits&) const = default;
};

// What a token of each class costs against `tokens` and `quota`, in thousandths.
struct usage_weights {
    uint32_t prompt = 1000;
    uint32_t cached = 1000;
    uint32_t completion = 1000;

    bool operator==(const usage_weights&) const = default;
};

// Both clocks, read once for a decision.
struct moment {
    uint64_t ns = 0;     // monotonic
    int64_t unix_ms = 0; // wall clock, since 1970
};

} // namespace llm
