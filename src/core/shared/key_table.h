// The keys of one or several key files as they lie in the shared zone: found by the SHA-256 digest of the
// key.
//
// A table is written once, whole, into memory handed in, by one process and outside of the zone's lock, and
// is not changed once it is published, but for the subject numbers that it remembers and the faults of its
// files. Reading it needs the zone's lock, since a later publication lets its memory be written over.
#pragma once

#include "file_fault.h"
#include "key_record.h"
#include "subject_table.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace llm {

// What is said of a request's key, and then of the request.
enum class verdict : uint8_t {
    ok,
    no_such_file, // the key file is not in force (any more)
    unknown,      // no key has this digest
    blocked,      // by an operator, whatever the file says
    disabled,
    expired,
    asks_user, // all is well, but who asks stands in a header that was not looked at, see user_from
    network,   // the client's address is not among the key's
    model,     // the model is not among the key's
    zone_full, // no room for a lease or a counter
    limited,   // a limit refuses it (see admission.h)
};

// Text in the table's memory.
struct shared_text {
    const char* data;
    uint32_t size;

    std::string_view view() const { return {data, size}; }
};

struct shared_policy {
    limits limit;
    const shared_text* models;
    const network* networks;
    uint32_t n_models;
    uint32_t n_networks;
    bool limited = false;     // limit.any()
    shared_text plan = {};    // its name
    shared_text request = {}; // rules for its requests, see key_policy
    shared_text user_from = {};

    // True if the policy lets a request use this model.
    bool allows_model(std::string_view model) const;
    // The same of names that each have a NUL behind them.
    bool allows_all(std::string_view models) const;
    // `address` is 4 or 16 bytes long, in network order. An IPv4 address mapped into IPv6 counts as IPv4.
    bool allows_address(std::span<const uint8_t> address) const;
};

// One cache line: with many keys it lies in no cache.
struct alignas(64) shared_key {
    shared_text name;
    shared_text user;
    const shared_policy* policy;
    int64_t expires;
    uint32_t key_subject; // no_index until the key is first used in this table
    uint32_t user_subject;
    uint32_t first_digest; // its digests stand together
    uint32_t enabled : 1;
    uint32_t admin : 1; // may use llm_admin
    uint32_t n_digests : 30;
};

static_assert(sizeof(shared_key) == 64);

class key_table {
public:
    // Bytes that write() needs for these files, exactly.
    static size_t bytes(std::span<const key_file* const> files);
    // Writes a table into `memory` (64-byte aligned). It lives there until the memory is written over.
    static key_table* write(void* memory, std::span<const key_file* const> files);

    // Finds the key of a digest in one file, which is named by name_hash() of its path: the same in all
    // processes and over reloads. Sets `found` where the key exists, whatever the verdict. `now` in seconds
    // since 1970.
    verdict check(uint64_t file, const digest& d, std::span<const uint8_t> address, int64_t now,
                  shared_key*& found);

    struct alignas(sizeof(digest)) stored_digest {
        uint8_t bytes[sizeof(digest)];
    };
    // A digest's place in the hash table. The mark tells nearly all others apart without a look at their
    // keys.
    struct digest_slot {
        uint32_t mark;
        uint32_t key; // its number + 1, or 0
    };
    struct file_info {
        uint64_t id; // name_hash(path)
        shared_text path;
        shared_key* keys;
        shared_policy* policies;
        const stored_digest* digests;
        const digest_slot* slots;
        uint32_t n_keys;
        uint32_t n_digests;
        uint32_t slot_mask;
        file_stamp stamp; // of the text that these keys are from
        int64_t read_ms;
        // Of a later text: kept by whoever watches the file, with the zone locked.
        file_fault fault;
        file_stamp fault_stamp;
    };
    std::span<const file_info> files() const { return {files_, n_files_}; }
    // nullptr if it is not among them.
    file_info* file(uint64_t id);
    // How the key of a digest is now, wherever it is used and for what: unlike check(), it says nothing of a
    // request. `network` and `model` are not said.
    verdict state_of(uint64_t file, const digest& d, int64_t now, shared_key*& found);
    uint32_t keys() const;
    // Some keys have rules for their requests.
    bool rules_requests() const { return rules_requests_; }
    // Bytes that it takes.
    size_t size() const { return size_; }

    // Where a digest's search begins.
    static uint64_t first_slot(const digest& d)
    {
        uint64_t slot = 0;
        memcpy(&slot, d.data(), sizeof slot);
        return slot;
    }

private:
    static shared_key* find(const file_info& file, const digest& d);

    file_info* files_;
    uint32_t n_files_;
    bool rules_requests_;
    size_t size_;
};

// True if `text` is the pattern, in which each `*` stands for any run of characters.
bool glob_match(std::string_view pattern, std::string_view text);

} // namespace llm
