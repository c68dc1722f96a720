// What the plans and keys of a key file may say: JSON trees to records. Internal to src/keys.
#pragma once

#include "core/shared/key_record.h"
#include "field_check.h"
#include "index_set.h"
#include "policy_rules.h"
#include "sha256.h"

#include <string>
#include <string_view>
#include <unordered_map>

namespace llm {

class key_rules {
public:
    key_rules();

    // Takes "plans", before any key; then each element of "keys". False on an error, which `check` tells,
    // with the path from the value given. The trees are only read and may go when the error has been read.
    bool add_plans(json_t* plans);
    bool add_key(const json_t* key, size_t index);

    // The result: to be called once, after everything was added.
    key_file take();

    field_check check;

private:
    struct plan {
        key_policy policy;
        uint32_t index; // of the policy
    };

    bool read_plan(const trail* at, json_t* value);
    bool read_flag(std::string_view name, const json_t* value, bool& to);
    bool read_user_from(const json_t* value, std::string& to);
    static bool names_no_user(std::string_view header);
    bool read_names(const json_t* name, const json_t* user, const json_t* secret, key_record& to);
    bool read_digests(const json_t* sha256, const json_t* secret, key_record& to);
    bool read_digest(const trail* at, const json_t* value, digest& to);
    bool read_expires(const json_t* value, int64_t& to);
    bool check_unique(const json_t* sha256);
    bool find_plan(const json_t* name, const plan*& to);
    uint32_t policy_index(key_policy policy);

    policy_rules reader;
    key_file result;
    std::unordered_map<std::string, plan> plans;
    index_set policies, names, digests;
    std::string scratch, other_scratch;
};

} // namespace llm
