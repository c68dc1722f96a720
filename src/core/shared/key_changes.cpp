#include "key_changes.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>
#include <utility>

namespace llm {

namespace {

bool same_text(const shared_text& a, const shared_text& b)
{
    return a.view() == b.view();
}

bool same_policy(const shared_policy& a, const shared_policy& b)
{
    return a.limit == b.limit && same_text(a.plan, b.plan) && same_text(a.request, b.request)
           && same_text(a.user_from, b.user_from)
           && std::equal(a.models, a.models + a.n_models, b.models, b.models + b.n_models, same_text)
           && std::equal(a.networks, a.networks + a.n_networks, b.networks, b.networks + b.n_networks);
}

class file_comparison {
public:
    file_comparison(const key_table::file_info& before, const key_table::file_info& after)
        : before_(before), after_(after)
    {
    }

    void run(key_changes& changes)
    {
        std::unordered_map<std::string_view, const shared_key*> known;
        known.reserve(before_.n_keys);
        for (const shared_key& key : std::span(before_.keys, before_.n_keys)) {
            known.emplace(key.name.view(), &key);
        }
        uint32_t kept = 0;
        for (const shared_key& key : std::span(after_.keys, after_.n_keys)) {
            const auto found = known.find(key.name.view());
            if (found == known.end()) {
                changes.added++;
            } else {
                kept++;
                changes.changed += !same(*found->second, key);
            }
        }
        changes.removed += before_.n_keys - kept;
    }

private:
    bool same(const shared_key& a, const shared_key& b)
    {
        return a.enabled == b.enabled && a.admin == b.admin && a.expires == b.expires
               && a.n_digests == b.n_digests && same_text(a.user, b.user)
               && memcmp(before_.digests + a.first_digest, after_.digests + b.first_digest,
                         a.n_digests * sizeof(key_table::stored_digest))
                      == 0
               && same(a.policy, b.policy);
    }

    // Many keys share few policies.
    bool same(const shared_policy* a, const shared_policy* b)
    {
        const auto [known, is_new] = policies_.try_emplace({a, b}, false);
        if (is_new) {
            known->second = same_policy(*a, *b);
        }
        return known->second;
    }

    const key_table::file_info& before_;
    const key_table::file_info& after_;
    std::map<std::pair<const shared_policy*, const shared_policy*>, bool> policies_;
};

const key_table::file_info* find_file(const key_table& table, uint64_t id)
{
    const auto files = table.files();
    const auto found =
        std::find_if(files.begin(), files.end(), [&](const key_table::file_info& f) { return f.id == id; });
    return found == files.end() ? nullptr : &*found;
}

} // namespace

key_changes compare(const key_table* before, const key_table& after)
{
    key_changes changes;
    for (const key_table::file_info& file : after.files()) {
        const key_table::file_info* old = before ? find_file(*before, file.id) : nullptr;
        if (old) {
            file_comparison(*old, file).run(changes);
        } else {
            changes.added += file.n_keys;
        }
    }
    if (before) {
        for (const key_table::file_info& file : before->files()) {
            changes.removed += find_file(after, file.id) ? 0 : file.n_keys;
        }
    }
    return changes;
}

} // namespace llm
