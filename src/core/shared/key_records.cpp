#include "key_records.h"

#include <algorithm>

namespace llm {

namespace {

key_policy policy_of(const shared_policy& from)
{
    key_policy to{.limit = from.limit,
                  .models = {},
                  .networks = {from.networks, from.networks + from.n_networks},
                  .plan = std::string(from.plan.view()),
                  .request = std::string(from.request.view()),
                  .user_from = std::string(from.user_from.view())};
    for (const shared_text& model : std::span(from.models, from.n_models)) {
        to.models.emplace_back(model.view());
    }
    return to;
}

} // namespace

key_file records_of(const key_table::file_info& file)
{
    key_file to;
    to.path = file.path.view();
    to.stamp = file.stamp;
    to.read_ms = file.read_ms;
    // Policies lie side by side, and each is some key's; the first is the empty one.
    uint32_t n_policies = 1;
    for (const shared_key& key : std::span(file.keys, file.n_keys)) {
        n_policies = std::max(n_policies, static_cast<uint32_t>(key.policy - file.policies) + 1);
    }
    for (const shared_policy& policy : std::span(file.policies, n_policies)) {
        to.policies.push_back(policy_of(policy));
    }
    to.keys.reserve(file.n_keys);
    for (const shared_key& key : std::span(file.keys, file.n_keys)) {
        key_record& record = to.keys.emplace_back();
        record.name = key.name.view();
        record.user = key.user.view();
        record.expires = key.expires;
        record.policy = static_cast<uint32_t>(key.policy - file.policies);
        record.enabled = key.enabled;
        record.admin = key.admin;
        for (const key_table::stored_digest& stored :
             std::span(file.digests + key.first_digest, key.n_digests)) {
            std::copy(std::begin(stored.bytes), std::end(stored.bytes),
                      record.digests.emplace_back().begin());
        }
    }
    return to;
}

} // namespace llm
