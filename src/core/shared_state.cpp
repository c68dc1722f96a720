#include "shared_state.h"

#include "utf8.h"

#include <algorithm>
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

shared_state* shared_state::format(void* memory, size_t bytes)
{
    auto* at = static_cast<uint8_t*>(memory);
    auto* state = new (memory) shared_state;
    size_t head = (sizeof(shared_state) + 63) & ~size_t{63};
    size_t room = bytes - head;

    auto n_leases = static_cast<uint32_t>(std::min<size_t>(room / 16 / sizeof(lease), no_index - 1));
    size_t lease_bytes = cache_line_down(lease_table::bytes(n_leases) + 63);

    auto n_subjects = static_cast<uint32_t>(std::min<size_t>(room / 16 * 7 / subject_cost, no_index - 1));
    size_t subject_bytes = cache_line_down(subject_table::bytes(n_subjects) + 63);

    at += head;
    state->leases_.format(at, n_leases);
    at += lease_bytes;
    state->subjects_.format(at, n_subjects);
    at += subject_bytes;

    state->key_area_bytes_ = cache_line_down((room - lease_bytes - subject_bytes) / 2);
    state->key_areas_[0] = at;
    state->key_areas_[1] = at + state->key_area_bytes_;
    state->active_ = 0;
    state->generation_ = 0;
    state->keys_ = nullptr;
    state->pending_.lease_number.store(no_index, std::memory_order_relaxed);
    state->busy_.store(0, std::memory_order_relaxed);
    memset(state->owners_, 0, sizeof state->owners_);
    state->magic_ = magic;
    return state;
}

size_t shared_state::bytes_for(size_t key_table_bytes, size_t subjects)
{
    return sizeof(shared_state) + std::max(key_table_bytes * 4, subjects * subject_cost / 7 * 16) + 4096;
}

void shared_state::publish(key_table* table)
{
    active_ ^= 1;
    generation_++;
    keys_ = table;
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

admission_result shared_state::admit(const admission_request& request)
{
    shared_key* key = nullptr;
    verdict said = check(request, key);
    if (said != verdict::ok) {
        return {said, nullptr};
    }

    if (key->key_subject == no_index) {
        key->key_subject = subjects_.find_or_make(subject_kind::key, key->name.view());
    }
    if (key->user_subject == no_index && key->user.size != 0) {
        key->user_subject = subjects_.find_or_make(subject_kind::user, key->user.view());
    }
    if (key->key_subject == no_index || (key->user_subject == no_index && key->user.size != 0)) {
        return {verdict::zone_full, nullptr};
    }
    lease* l = leases_.take();
    if (!l) {
        return {verdict::zone_full, nullptr};
    }

    l->owner = request.owner;
    l->key = key->key_subject;
    l->user = key->user_subject;
    l->stream = request.stream;
    l->started_ms = request.now_ms;
    l->model_len = static_cast<uint8_t>(
        utf8_cut(request.model, lease::max_model).copy(l->model_bytes, sizeof l->model_bytes));
    l->set_progress({});

    subjects_.at(l->key).in_flight++;
    if (l->user != no_index) {
        subjects_.at(l->user).in_flight++;
    }
    l->is.store(lease::state::running, std::memory_order_release);
    return {verdict::ok, l};
}

void shared_state::settle(lease& l, const token_progress& used)
{
    const uint32_t numbers[2] = {l.key, l.user};
    for (size_t i = 0; i < 2; i++) {
        pending_.subject_number[i] = numbers[i];
        if (numbers[i] == no_index) {
            continue;
        }
        subject& s = subjects_.at(numbers[i]);
        s.in_flight--;
        pending_.after[i] = s.totals;
        pending_.after[i].requests++;
        pending_.after[i].prompt += used.prompt;
        pending_.after[i].cached += used.cached;
        pending_.after[i].completion += used.completion;
        pending_.after[i].reasoning += used.reasoning;
    }
    pending_.lease_number.store(leases_.index_of(l), std::memory_order_release);
    carry_out(pending_);
    leases_.give(l);
    pending_.lease_number.store(no_index, std::memory_order_release);
}

void shared_state::carry_out(const settlement& s)
{
    for (size_t i = 0; i < 2; i++) {
        if (s.subject_number[i] != no_index) {
            subjects_.at(s.subject_number[i]).totals = s.after[i];
        }
    }
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
    uint32_t number = pending_.lease_number.load(std::memory_order_acquire);
    if (number != no_index) {
        carry_out(pending_);
        leases_.at(number).is.store(lease::state::free, std::memory_order_release);
        pending_.lease_number.store(no_index, std::memory_order_release);
    }

    subjects_.rebuild();
    leases_.rebuild();
    for (uint32_t i = 0; i < leases_.high_water(); i++) {
        const lease& l = leases_.at(i);
        if (l.is.load(std::memory_order_relaxed) == lease::state::running) {
            subjects_.at(l.key).in_flight++;
            if (l.user != no_index) {
                subjects_.at(l.user).in_flight++;
            }
        }
    }
}

} // namespace llm
