// API keys as a key file gives them, checked. Made when the configuration is read (it may allocate), turned
// into the shared table by key_table.h and thrown away.
#pragma once

#include "core/base/digest.h"
#include "core/limit/limits.h"
#include "core/limit/scope.h"
#include "file_stamp.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace llm {

// An address range. IPv4 stands in the first four bytes. Bits beyond the prefix are zero.
struct network {
    std::array<uint8_t, 16> address{};
    uint8_t prefix = 0; // 0..32 or 0..128
    bool v6 = false;

    bool operator==(const network&) const = default;
};

// The lists of key_policy::request (policy_rule::list): what a key says and what its plan says hold both.
inline constexpr uint8_t list_of_key = 0, list_of_plan = 1;

// What is the same for many keys: a plan, or what a key says for itself over its plan. Kept once in the table
// however many keys share it.
struct key_policy {
    limits limit;
    std::vector<std::string> models; // names, `*` stands for any run of characters; empty = every model
    std::vector<network> networks;   // empty = every address
    std::string plan = {};           // the name of the plan that it is, or is made from; empty = none
    std::string request = {};        // as request_policy takes it; the key's rules before the plan's
    std::string user_from = {};      // the header that names the user of each request; empty = none
};

struct key_record {
    std::string name;            // unique in its file; counters belong to it
    std::string user;            // empty = none
    std::vector<digest> digests; // of its secrets; and of its name, see finish_keys() in key_file.h
    int64_t expires = 0;         // seconds since 1970, 0 = never
    uint32_t policy = 0;         // index into key_file::policies
    bool enabled = true;
    bool admin = false; // may use llm_admin
};

// What an operator should know of a file that is good.
struct key_file_notes {
    uint32_t plain_keys = 0; // whose secrets stand in the file
    uint32_t short_keys = 0; // of those: they can be guessed
    uint32_t line = 0;       // of the first such key
    uint32_t column = 0;
    uint32_t without_secret = 0; // keys that can be found by their names only
    uint32_t line_without = 0;   // of the first of those
    uint32_t column_without = 0;
    bool others_may_read = false; // whoever has a login
};

// One key file. policies[0] is the empty policy; every record's `policy` is a valid index.
struct key_file {
    std::string path;
    std::vector<key_policy> policies;
    std::vector<key_record> keys;
    file_stamp stamp;    // of the text that was read
    int64_t read_ms = 0; // when, wall clock, since 1970
    key_file_notes notes;
};

} // namespace llm
