// How often what took how long: counts by bounds that are fixed.
//
// Lies in the shared zone; counting needs its lock, and is part of a change that the journal makes whole.
#pragma once

#include "undo_journal.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace llm {

// The bounds of a histogram, in a unit of which there are so many in a second. What is as long as a bound is
// below it.
template <size_t N>
struct histogram_bounds {
    uint32_t units; // in a second
    std::array<uint32_t, N> bounds;

    static constexpr size_t buckets = N + 1;

    size_t bucket_of(uint32_t value) const
    {
        size_t n = 0;
        for (uint32_t bound : bounds) {
            n += value > bound;
        }
        return n;
    }
};

inline constexpr histogram_bounds<20> duration_bounds = {
    1000, {300,   500,   800,   1000,  1500,  2000,   2500,   5000,   10000,  15000,
           20000, 30000, 40000, 50000, 60000, 120000, 240000, 480000, 960000, 1920000}};
inline constexpr histogram_bounds<19> first_token_bounds = {
    1000, {1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 20000, 40000, 80000}};
inline constexpr histogram_bounds<16> token_bounds = {1000000,
                                                      {10000, 25000, 50000, 75000, 100000, 150000, 200000,
                                                       300000, 400000, 500000, 750000, 1000000, 2500000,
                                                       5000000, 7500000, 10000000}};
inline constexpr histogram_bounds<16> gateway_bounds = {1000000000,
                                                        {1000, 2500, 5000, 10000, 25000, 50000, 75000, 100000,
                                                         250000, 500000, 1000000, 2500000, 5000000, 10000000,
                                                         25000000, 100000000}};

template <const auto& Bounds>
struct histogram {
    uint64_t sum; // in the unit of the bounds
    std::array<uint64_t, Bounds.buckets> counts;

    void count(uint32_t value, undo_journal& journal)
    {
        uint64_t& bucket = counts[Bounds.bucket_of(value)];
        journal.keep(&sum, sizeof sum);
        journal.keep(&bucket, sizeof bucket);
        sum += value;
        bucket++;
    }
};

} // namespace llm
