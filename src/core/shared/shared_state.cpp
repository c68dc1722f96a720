#include "shared_state.h"

#include "failed_auth.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace llm {

namespace {

// A subject's record and up to two buckets: subject_table rounds the number of buckets up to a power of two.
constexpr size_t subject_cost = sizeof(subject) + 2 * sizeof(uint32_t);

size_t cache_line_down(size_t n)
{
    return n & ~size_t{63};
}

} // namespace

shared_state* shared_state::format(void* memory, size_t bytes, const hash_key& key)
{
    auto* at = static_cast<uint8_t*>(memory);
    auto* state = new (memory) shared_state;
    size_t head = (sizeof(shared_state) + 63) & ~size_t{63};
    size_t room = bytes - head;

    auto n_leases = static_cast<uint32_t>(std::min<size_t>(room / 8 / sizeof(lease), no_index - 1));
    size_t lease_bytes = cache_line_down(lease_table::bytes(n_leases) + 63);

    auto n_subjects = static_cast<uint32_t>(std::min<size_t>(room / 2 / subject_cost, no_index - 1));
    size_t subject_bytes = cache_line_down(subject_table::bytes(n_subjects) + 63);

    auto n_figures = std::bit_floor(static_cast<uint32_t>(std::min<size_t>(room / 64 / 8, 1u << 31)));
    size_t figure_bytes = cache_line_down(token_estimator::bytes(n_figures) + 63);

    at += head;
    state->leases_.format(at, n_leases);
    at += lease_bytes;
    state->subjects_.format(at, n_subjects, key);
    at += subject_bytes;
    state->learned_.format(at, n_figures, key);
    at += figure_bytes;

    state->key_area_bytes_ = cache_line_down((room - lease_bytes - subject_bytes - figure_bytes) / 2);
    state->key_areas_[0] = at;
    state->key_areas_[1] = at + state->key_area_bytes_;
    state->active_ = 0;
    state->generation_ = 0;
    state->keys_ = nullptr;
    state->busy_.store(0, std::memory_order_relaxed);
    state->silent_until_ns_ = 0;
    state->owners_end_ = 0;
    memset(state->owners_, 0, sizeof state->owners_);
    state->magic_ = magic;
    return state;
}

size_t shared_state::bytes_for(size_t key_table_bytes, size_t subjects)
{
    return sizeof(shared_state) + std::max(key_table_bytes * 128 / 23, subjects * subject_cost * 2) + 4096;
}

void shared_state::publish(key_table* table)
{
    active_ ^= 1;
    generation_++;
    keys_ = table;
    hints_.set(*table);
}

zone_bytes shared_state::bytes_of(size_t zone_size) const
{
    auto divide = [](size_t all, size_t free) { return zone_bytes::part{all - free, free}; };
    const uint32_t free_leases = leases_.capacity() - leases_.taken();
    const uint32_t free_subjects = subjects_.capacity() - subjects_.used();
    const size_t lease_bytes = lease_table::bytes(leases_.capacity());
    const size_t subject_bytes = subject_table::bytes(subjects_.capacity());

    return {divide(lease_bytes, lease_table::bytes(free_leases)),
            divide(subject_bytes, size_t{free_subjects} * sizeof(subject)),
            divide(key_area_bytes_, key_area_bytes_ - (keys_ ? keys_->size() : 0)), key_area_bytes_,
            zone_size - lease_bytes - subject_bytes - 2 * key_area_bytes_};
}

uint32_t shared_state::claim_owner(const lease_owner& self)
{
    uint32_t vacant = no_index;
    for (uint32_t i = max_owners; i-- > 0;) {
        if (owners_[i] == self) {
            return i;
        }
        if (owners_[i].pid == 0) {
            vacant = i;
        }
    }
    if (vacant != no_index) {
        // First the end, so that a process killed in between leaves no owner that is not looked at.
        owners_end_ = std::max(owners_end_, vacant + 1);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        owners_[vacant] = self;
    }
    return vacant;
}

verdict shared_state::check(const admission_request& request, shared_key*& key)
{
    if (!keys_) {
        return verdict::no_such_file;
    }
    verdict v = keys_->check(request.file, request.key, request.address, request.now_ms / 1000, key);
    if (v == verdict::ok && request.asks_model
        && !key->policy->allows_model(request.named_model, request.model)) {
        return verdict::model;
    }
    return v;
}

verdict shared_state::check(const admission_request& request)
{
    shared_key* key = nullptr;
    return check(request, key);
}

admission_result shared_state::check_key(const admission_request& request, shared_key*& key)
{
    verdict said = check(request, key);
    return said == verdict::unknown ? count_failed_auth(subjects_, journal_, request)
                                    : admission_result{said};
}

admission_result shared_state::admit(const admission_request& request, shared_key& key)
{
    admission_result result = deciding().admit(request, key);
    if (result.shares && request.now_ns >= silent_until_ns_) [[unlikely]] {
        silent_until_ns_ = request.now_ns + tell_shares_every_ns;
        result.tell_shares = true;
    }
    return result;
}

admission_result shared_state::check_and_admit(admission_request& request, const request_size* size,
                                               shared_key*& key)
{
    verdict said = check(request, key);
    if (said == verdict::unknown) {
        return count_failed_auth(subjects_, journal_, request);
    }
    if (said != verdict::ok) {
        return admission_result{said};
    }
    deciding().prefetch(*key);
    if (size && request.asks_model && (!request.rules.empty() || key->policy->limited)) {
        request.estimate =
            weighted(learned_.estimate(key->name.view(), request.model, *size), request.weights);
    }
    return admit(request, *key);
}

extension_result shared_state::extend(lease& l, const admission_request& request, uint64_t more)
{
    shared_key* key = nullptr;
    check(request, key);
    return extension(subjects_, journal_).extend(l, request, key, more);
}

void shared_state::enter()
{
    // Whoever held the lock last did not leave: it was killed, and nginx's master has freed the lock.
    if (busy_.load(std::memory_order_acquire) != 0) {
        repair();
    }
    busy_.store(1, std::memory_order_release);
}

void shared_state::repair()
{
    journal_.roll_back();
    subjects_.rebuild();
    leases_.rebuild();
    for (uint32_t i = 0; i < leases_.high_water(); i++) {
        const lease& l = leases_.at(i);
        if (lease::is_counted(l.is.load(std::memory_order_relaxed))) {
            settling().count_holds(l);
        }
    }
}

} // namespace llm
