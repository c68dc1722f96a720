// One pass over the subjects that have changed since an earlier one, in slices, so that no request waits for
// all of them.
//
// It is the exporter's own, not in the zone. Records may be made, freed and used again between slices: each
// slice has what is there when it is taken. What changes meanwhile is part of the next pass, if not of this
// one. A subject that is dropped between two passes is in neither; such a subject is at rest, or in no key
// file any more.
#pragma once

#include "subject_state.h"
#include "subject_table.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace llm {

class subject_export {
public:
    static constexpr size_t max_slice = 64;

    // For `since` see mark(); 0 = all subjects. Needs the zone's lock.
    subject_export(subject_table& subjects, const token_estimator& learned, uint64_t since)
        : subjects_(subjects), learned_(learned), since_(since), mark_(subjects.next_mark())
    {
    }

    // Where the next pass has to begin once all slices of this one are in safety.
    uint64_t mark() const { return mark_; }

    // The next slice, good until the next call; none if this was all. The lock is taken for as long as it
    // takes to copy their records: `locked(f)` calls f with the zone locked.
    template <class Locked>
    std::span<const subject_state> next(const moment& now, Locked&& locked)
    {
        size_t n = 0;
        while (n == 0 && find_slice()) {
            locked([&] { n = copy_slice(); });
        }
        for (size_t i = 0; i < n; i++) {
            put_state(copies_[i], now, states_[i]);
        }
        return {states_.data(), n};
    }

private:
    // Of a record, what is needed of it.
    struct copy {
        subject_kind kind;
        bool proved;
        bool blocked;
        uint8_t name_len;
        uint8_t owner_len;
        char name[max_name];
        char owner[max_name];
        subject_rates rates;
        subject_counts counts;
    };

    bool find_slice();
    size_t copy_slice();
    void put_state(const copy& from, const moment& now, subject_state& to) const;

    const subject_table& subjects_;
    const token_estimator& learned_;
    uint64_t since_;
    uint64_t mark_;
    uint32_t next_ = 0;
    size_t found_ = 0;
    std::array<uint32_t, max_slice> numbers_;
    std::array<copy, max_slice> copies_;
    std::array<subject_state, max_slice> states_;
};

} // namespace llm
