#include "shared_state.h"

#include "failed_auth.h"
#include "subject_names.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace llm {

namespace {

constexpr size_t head_bytes = (sizeof(shared_state) + 63) & ~size_t{63};

} // namespace

shared_state* shared_state::format(void* memory, size_t bytes, const hash_key& key, int64_t now_ms)
{
    auto* state = new (memory) shared_state;
    zone_areas::make(*state, static_cast<uint8_t*>(memory) + head_bytes,
                     zone_areas::divide(bytes - head_bytes), key);
    state->book_.begin(now_ms);
    state->generation_ = 0;
    state->configuration_ = 0;
    state->stops_ = 0;
    state->keys_ = nullptr;
    state->rules_requests_ = false;
    state->busy_.store(0, std::memory_order_relaxed);
    state->imported_ = 0;
    state->silent_until_ns_ = 0;
    state->magic_ = magic;
    return state;
}

size_t shared_state::bytes_for(size_t key_table_bytes, size_t subjects)
{
    return head_bytes + zone_areas::room_for(key_table_bytes, subjects) + 4096;
}

shared_state::part_list shared_state::parts(size_t zone_size) const
{
    part_list list;
    size_t rest = zone_size;
    for (size_t i = 0; i < zone_areas::count; i++) {
        list[i] = zone_areas::use(*this, static_cast<zone_areas::area>(i));
        rest -= list[i].used + list[i].free;
    }
    list.back() = {"fixed", rest, 0, false};
    return list;
}

bool shared_state::publish(publisher::ticket ticket, key_table* table)
{
    if (!publisher_.holds(ticket)) {
        return false;
    }
    // Of a process killed on the way, the one store of the pointer says which table is in force.
    __atomic_store_n(&generation_, generation_ + 1, __ATOMIC_RELAXED);
    if (table->rules_requests()) {
        rules_requests_.store(true, std::memory_order_release); // rather once too often than too late
    }
    std::atomic_signal_fence(std::memory_order_seq_cst);
    keys_ = table;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    rules_requests_.store(table->rules_requests(), std::memory_order_release);
    hints_.set(*table);
    return true;
}

bool shared_state::set_blocked(std::string_view key, bool blocked, const moment& now)
{
    const uint32_t index = blocked ? subjects_.find_or_make(subject_kind::key, key, now)
                                   : subjects_.find(subject_kind::key, key);
    if (index == no_index) {
        return !blocked;
    }
    if ((subjects_.at(index).blocked_since() != 0) != blocked) {
        const auto seconds = static_cast<uint32_t>(std::clamp<int64_t>(now.unix_ms / 1000, 1, UINT32_MAX));
        subjects_.block(index, blocked ? seconds : 0);
    }
    return true;
}

void shared_state::reset(std::string_view key, forget what, const moment& now)
{
    const uint32_t index = subjects_.find(subject_kind::key, key);
    if (index == no_index) {
        return;
    }
    subject& s = subjects_.at(index);
    journal_->keep(&s.rates, sizeof s.rates + sizeof s.counts);
    subjects_.touch(s);
    if (what != forget::rates) {
        s.forget_quotas();
    }
    if (what != forget::quotas) {
        s.forget_rates(now.ns);
    }
    journal_->commit();
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

namespace {

// Where models are listed, a request that names none passes only if it is for none: what the upstream would
// choose for it is not known.
bool allows_models(const shared_policy& policy, const admission_request& request)
{
    if (request.unclear_model) {
        return false;
    }
    const std::string_view model = request.asked_model.data() ? request.asked_model : request.model;
    return (request.named_model ? policy.allows_model(model) : !request.needs_model)
           && policy.allows_all(request.more_models);
}

} // namespace

// A new table knows no subjects yet, and that of a key that is blocked would never be found by a lease.
bool shared_state::is_blocked(shared_key& key)
{
    if (key.key_subject == no_index) {
        key.key_subject = subjects_.find(subject_kind::key, key.name.view());
    }
    return key.key_subject != no_index && subjects_.at(key.key_subject).blocked_since() != 0;
}

verdict shared_state::check(const admission_request& request, shared_key*& key)
{
    if (!keys_) {
        return verdict::no_such_file;
    }
    verdict v = keys_->check(request.file, request.key, request.address, request.now_ms / 1000, key);
    if (key && subjects_.blocked() != 0 && is_blocked(*key)) [[unlikely]] {
        return verdict::blocked;
    }
    if (v == verdict::ok && key->policy->n_models != 0 && !allows_models(*key->policy, request)) {
        return verdict::model;
    }
    return v;
}

verdict shared_state::check(const admission_request& request)
{
    shared_key* key = nullptr;
    return check(request, key);
}

caller shared_state::caller_of(const admission_request& request) const
{
    if (std::none_of(request.rules.begin(), request.rules.end(),
                     [](const limit_rule& rule) { return rule.what().failures.amount != 0; })) {
        return {};
    }
    const std::string_view address = address_name(request.address);
    char text[sizeof(digest) + max_name];
    memcpy(text, request.key.data(), sizeof(digest));
    address.copy(text + sizeof(digest), max_name);
    const uint64_t id = subjects_.keyed_hash({text, sizeof(digest) + address.size()}) | 1;
    return {id, !callers_->knows(id, request.now_ms)};
}

admission_result shared_state::check_key(const admission_request& request, shared_key*& key,
                                         const caller& from)
{
    admission_result result{check(request, key)};
    if (result.said == verdict::unknown) {
        return count_failed_auth(subjects_, *journal_, request);
    }
    if (from.is_stranger && result.said != verdict::no_such_file) {
        const admission_result failed = look_at_failed_auth(subjects_, request);
        if (failed.said == verdict::limited) {
            key = nullptr;
            return failed;
        }
        result.dry_run_refusals = failed.dry_run_refusals;
    }
    return result;
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
                                               shared_key*& key, const caller& from)
{
    const admission_result checked = check_key(request, key, from);
    if (checked.said != verdict::ok) {
        return checked;
    }
    // Also if this key has none: another one's header would name its user.
    if (key->policy->user_from.view() != request.user_from) [[unlikely]] {
        return {verdict::asks_user};
    }
    deciding().prefetch(*key);
    if (size && request.asks_model && (!request.rules.empty() || key->policy->limited)) {
        token_estimate tokens = learned_.estimate(key->name.view(), request.model, *size);
        if (request.most_tokens != 0) {
            tokens.completion = std::min(tokens.completion, uint64_t{request.most_tokens} * size->choices);
        }
        request.estimate = weighted(tokens, request.weights);
    }
    admission_result result = admit(request, *key);
    result.dry_run_refusals |= checked.dry_run_refusals;
    return result;
}

extension_result shared_state::extend(lease& l, const admission_request& request, uint64_t more)
{
    shared_key* key = nullptr;
    check(request, key);
    return extension(subjects_, *journal_).extend(l, request, key, more);
}

void shared_state::count_refused(const book_names& names, refusal why, const moment& now)
{
    const book::place at = book_.find_place_of_refused(names, now, *journal_);
    book_.count_refused(at, reason_index(why), now, *journal_);
    journal_->commit();
}

void shared_state::count_undecided(const book_names& names, const request_end& end, const moment& now)
{
    const book::place at = book_.find_place(names, false, now, *journal_);
    book_.count(at, end, {}, 0, now, *journal_);
    journal_->commit();
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
    journal_->roll_back();
    subjects_.rebuild();
    leases_.rebuild();
    book_.rebuild();
    for (uint32_t i = 0; i < leases_.high_water(); i++) {
        const lease& l = leases_.at(i);
        if (lease::is_counted(l.is.load(std::memory_order_relaxed))) {
            settling().count_holds(l);
        }
    }
}

} // namespace llm
