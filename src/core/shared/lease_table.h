// The leases: one record in the shared zone for each request that was let in and has not ended.
//
// Every function needs the zone's lock, unless it says otherwise.
#pragma once

#include "core/base/token_counts.h"
#include "subject_table.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace llm {

// Saturating, rounded up.
uint64_t weighted(const token_counts& tokens, const usage_weights& weights);

// What a lease holds of one subject.
struct lease_hold {
    // Different rates of tokens that one subject can be held to at once. Further ones are taken from at
    // admission, but not set right at the end.
    static constexpr size_t max_rates = 3;

    struct rate_hold {
        uint64_t interval_ns; // 0 = none
        uint32_t tokens;      // taken
        uint16_t epoch;       // of the state that it was taken from
        uint8_t state;
    };

    uint32_t who;    // subject, or no_index
    uint8_t windows; // of quotas that the tokens count in: bits
    uint64_t reserved;
    rate_hold rates[max_rates];
};

// Why somebody else wants a request to end.
enum class stop_reason : uint8_t { none, asked, key_revoked };

struct alignas(64) lease {
    static constexpr size_t max_model = 72;
    static constexpr uint16_t no_peer = UINT16_MAX;

    // More may come, so nobody asks for a state by its name to count: see is_taken() and is_counted().
    enum class state : uint8_t { free, running };
    static constexpr size_t n_states = 2;

    // Whether a record in this state is somebody's.
    static constexpr bool is_taken(state s) { return s != state::free; }
    // Whether its subjects count it as in flight, with what it has reserved.
    static constexpr bool is_counted(state s) { return s == state::running; }

    std::atomic<state> is; // stored last when a lease is taken, so that half a lease is no lease
    uint8_t stream;
    std::atomic<uint16_t> flags; // see stop()
    std::atomic<uint32_t> owner; // index into the owner table; looked at without the lock
    uint32_t next_free;
    uint8_t model_len;
    std::atomic<bool> answered; // an upstream has answered 200: stored like the progress below
    std::atomic<uint16_t> peer; // index of the upstream's server, or no_peer: likewise
    int64_t started_ms;         // wall clock, since 1970

    // Plain stores by the owner, without the lock; anybody may look.
    std::atomic<uint64_t> prompt;
    std::atomic<uint64_t> cached;
    std::atomic<uint64_t> completion;
    std::atomic<uint64_t> reasoning;
    std::atomic<uint64_t> cache_write;

    // With its place in the table it names a request: the next one there has another.
    uint64_t serial;
    usage_weights weights;
    char model_bytes[max_model]; // the beginning, where it is longer
    lease_hold holds[max_scopes];
    // Of whom shows what runs; likewise by the owner, without the lock.
    std::atomic<uint32_t> first_content; // milliseconds since it began, plus 1; 0 = there was none yet
    std::atomic<bool> has_server;        // the address that answers is known: stored after it
    uint8_t server_family;               // 4 or 6
    uint16_t server_port;
    uint8_t server_bytes[16]; // in network order; of IPv4 the first four

    uint32_t key() const { return holds[place_of(subject_kind::key)].who; }
    uint32_t user() const { return holds[place_of(subject_kind::user)].who; } // or no_index
    std::string_view model() const { return {model_bytes, model_len}; }

    // Asks the owner to end the request. The first reason stays. Needs the lock.
    void stop(stop_reason why)
    {
        const uint16_t known = flags.load(std::memory_order_relaxed);
        if (!(known & stop_flag)) {
            flags.store(static_cast<uint16_t>(known | stop_flag | static_cast<unsigned>(why) << reason_shift),
                        std::memory_order_relaxed);
        }
    }
    // Needs no lock.
    stop_reason stopped() const
    {
        return static_cast<stop_reason>(flags.load(std::memory_order_relaxed) >> reason_shift);
    }

    // For the owner only; needs no lock.
    void set_answered() { answered.store(true, std::memory_order_relaxed); }
    void set_peer(uint16_t index) { peer.store(index, std::memory_order_relaxed); }
    void set_first_content(uint32_t ms)
    {
        first_content.store(ms < UINT32_MAX ? ms + 1 : ms, std::memory_order_relaxed);
    }
    // `address`: 4 or 16 bytes.
    void set_server(std::span<const uint8_t> address, uint16_t port)
    {
        has_server.store(false, std::memory_order_release);
        server_family = address.size() == 4 ? 4 : 6;
        server_port = port;
        memcpy(server_bytes, address.data(), address.size());
        has_server.store(true, std::memory_order_release);
    }
    void set_progress(const token_counts& p)
    {
        prompt.store(p.prompt, std::memory_order_relaxed);
        cached.store(p.cached, std::memory_order_relaxed);
        completion.store(p.completion, std::memory_order_relaxed);
        reasoning.store(p.reasoning, std::memory_order_relaxed);
        cache_write.store(p.cache_write, std::memory_order_relaxed);
    }

    token_counts progress() const
    {
        return {.prompt = prompt.load(std::memory_order_relaxed),
                .cached = cached.load(std::memory_order_relaxed),
                .completion = completion.load(std::memory_order_relaxed),
                .reasoning = reasoning.load(std::memory_order_relaxed),
                .cache_write = cache_write.load(std::memory_order_relaxed)};
    }

private:
    static constexpr uint16_t stop_flag = 1; // the low byte has room for more
    static constexpr int reason_shift = 8;   // the high byte says why
};

static_assert(sizeof(lease) == 512);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

class lease_table {
public:
    static size_t bytes(uint32_t capacity) { return size_t{capacity} * sizeof(lease); }
    // Makes an empty table over `memory` (zeroed, 64-byte aligned, bytes(capacity) long).
    void format(void* memory, uint32_t capacity);

    // A free record, with a serial of its own, for the caller to fill and then to become() running; nullptr
    // if all are taken.
    lease* take();
    void become(lease& l, lease::state s)
    {
        count(l.is.load(std::memory_order_relaxed))--;
        count(s)++;
        l.is.store(s, std::memory_order_release);
    }
    // Puts a record back.
    void give(lease& l);
    // The lease of this name, or nullptr if it has ended.
    lease* find(uint32_t index, uint64_t serial)
    {
        return index < high_water() && records_[index].serial == serial
                       && lease::is_taken(records_[index].is.load(std::memory_order_relaxed))
                   ? &records_[index]
                   : nullptr;
    }

    // Needs no lock: records never move.
    lease& at(uint32_t index) { return records_[index]; }
    const lease& at(uint32_t index) const { return records_[index]; }
    uint32_t index_of(const lease& l) const { return static_cast<uint32_t>(&l - records_); }

    uint32_t in_state(lease::state s) const { return counts_[static_cast<size_t>(s)]; }
    uint32_t running() const { return in_state(lease::state::running); }
    // In any state but free.
    uint32_t taken() const
    {
        uint32_t n = 0;
        for (size_t s = 0; s < lease::n_states; s++) {
            n += lease::is_taken(static_cast<lease::state>(s)) ? counts_[s] : 0;
        }
        return n;
    }
    uint32_t capacity() const { return capacity_; }
    // Records at and above this index were never used.
    uint32_t high_water() const { return high_water_.load(std::memory_order_acquire); }

    // Makes the list of free records and the counts anew from the records.
    void rebuild();

private:
    uint32_t& count(lease::state s) { return counts_[static_cast<size_t>(s)]; }

    lease* records_;
    uint32_t capacity_;
    std::atomic<uint32_t> high_water_;
    uint32_t free_;
    uint32_t counts_[lease::n_states]; // by state; of those that are free: ever used
    uint64_t last_serial_;             // never goes back, whoever is killed
};

} // namespace llm
