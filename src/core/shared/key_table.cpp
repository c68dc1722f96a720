#include "key_table.h"

#include "core/api/model_table.h"
#include "core/base/address.h"
#include "core/base/hash.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace llm {

namespace {

// Lays pieces one after the other: without memory it only measures, so that both passes agree by
// construction.
class layout {
public:
    explicit layout(void* memory) : base_(static_cast<uint8_t*>(memory)) {}

    template <class T>
    T* place(size_t n)
    {
        used_ = (used_ + alignof(T) - 1) & ~(alignof(T) - 1);
        T* at = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
        used_ += n * sizeof(T);
        return at;
    }

    shared_text text(std::string_view s)
    {
        char* at = place<char>(s.size());
        if (at) {
            memcpy(at, s.data(), s.size());
        }
        return {at, static_cast<uint32_t>(s.size())};
    }

    size_t used() const { return used_; }

private:
    uint8_t* base_;
    size_t used_ = 0;
};

// Of other bytes than first_slot().
uint32_t mark_of(const digest& d)
{
    uint32_t mark = 0;
    memcpy(&mark, d.data() + sizeof(uint64_t), sizeof mark);
    return mark;
}

// At most half of the slots are taken, so that a search ends soon.
uint32_t slots_for(size_t digests)
{
    return std::bit_ceil(static_cast<uint32_t>(digests) * 2 + 1);
}

void lay_policies(layout& to, const key_file& from, shared_policy* policies)
{
    for (size_t i = 0; i < from.policies.size(); i++) {
        const key_policy& p = from.policies[i];
        auto* models = to.place<shared_text>(p.models.size());
        for (size_t m = 0; m < p.models.size(); m++) {
            shared_text text = to.text(p.models[m]);
            if (models) {
                models[m] = text;
            }
        }
        shared_text plan = to.text(p.plan);
        shared_text request = to.text(p.request);
        shared_text user_from = to.text(p.user_from);
        auto* networks = to.place<network>(p.networks.size());
        if (policies) {
            std::copy(p.networks.begin(), p.networks.end(), networks);
            policies[i] = {p.limit,
                           models,
                           networks,
                           static_cast<uint32_t>(p.models.size()),
                           static_cast<uint32_t>(p.networks.size()),
                           p.limit.any(),
                           plan,
                           request,
                           user_from};
        }
    }
}

void lay_file(layout& to, const key_file& from, key_table::file_info* info)
{
    size_t n_digests = 0;
    for (const key_record& k : from.keys) {
        n_digests += k.digests.size();
    }
    uint32_t n_slots = slots_for(n_digests);

    auto* slots = to.place<key_table::digest_slot>(n_slots);
    auto* digests = to.place<key_table::stored_digest>(n_digests);
    auto* keys = to.place<shared_key>(from.keys.size());
    auto* policies = to.place<shared_policy>(from.policies.size());
    shared_text path = to.text(from.path);
    lay_policies(to, from, policies);

    if (slots) {
        memset(slots, 0, n_slots * sizeof *slots);
    }
    uint32_t d = 0;
    for (size_t i = 0; i < from.keys.size(); i++) {
        const key_record& k = from.keys[i];
        shared_text name = to.text(k.name);
        shared_text user = k.user == k.name ? name : to.text(k.user);
        if (!keys) {
            continue;
        }
        keys[i] = {.name = name,
                   .user = user,
                   .policy = &policies[k.policy],
                   .expires = k.expires,
                   .key_subject = no_index,
                   .user_subject = no_index,
                   .first_digest = d,
                   .enabled = k.enabled,
                   .admin = k.admin,
                   .n_digests = static_cast<uint32_t>(k.digests.size()) & (INT32_MAX >> 1)};
        for (const digest& value : k.digests) {
            memcpy(digests[d++].bytes, value.data(), value.size());
            uint64_t slot = key_table::first_slot(value) & (n_slots - 1);
            while (slots[slot].key != 0) {
                slot = (slot + 1) & (n_slots - 1);
            }
            slots[slot] = {mark_of(value), static_cast<uint32_t>(i) + 1};
        }
    }

    if (info) {
        *info = {name_hash(from.path),
                 path,
                 keys,
                 policies,
                 digests,
                 slots,
                 static_cast<uint32_t>(from.keys.size()),
                 static_cast<uint32_t>(n_digests),
                 n_slots - 1,
                 from.stamp,
                 from.read_ms,
                 {},
                 {}};
    }
}

bool has_request_rules(const key_file& file)
{
    return std::any_of(file.policies.begin(), file.policies.end(),
                       [](const key_policy& policy) { return !policy.request.empty(); });
}

} // namespace

size_t key_table::bytes(std::span<const key_file* const> files)
{
    layout measure(nullptr);
    measure.place<key_table>(1);
    measure.place<file_info>(files.size());
    for (const key_file* file : files) {
        lay_file(measure, *file, nullptr);
    }
    return measure.used();
}

key_table* key_table::write(void* memory, std::span<const key_file* const> files)
{
    layout to(memory);
    auto* table = new (to.place<key_table>(1)) key_table;
    table->files_ = to.place<file_info>(files.size());
    table->n_files_ = static_cast<uint32_t>(files.size());
    table->rules_requests_ = false;
    for (size_t i = 0; i < files.size(); i++) {
        lay_file(to, *files[i], &table->files_[i]);
        table->rules_requests_ |= has_request_rules(*files[i]);
    }
    table->size_ = to.used();
    return table;
}

uint32_t key_table::keys() const
{
    uint32_t n = 0;
    for (const file_info& f : files()) {
        n += f.n_keys;
    }
    return n;
}

// With many keys, each step is a cache miss: a slot, the key, and then what the key leads to at once.
shared_key* key_table::find(const file_info& file, const digest& d)
{
    const uint32_t mark = mark_of(d);
    for (uint64_t at = first_slot(d);; at++) {
        const digest_slot& slot = file.slots[at & file.slot_mask];
        if (slot.key == 0) {
            return nullptr;
        }
        if (slot.mark != mark) {
            continue;
        }
        shared_key& key = file.keys[slot.key - 1];
        // A guess: mostly each key has one digest, and there are never fewer.
        __builtin_prefetch(&file.digests[slot.key - 1]);
        __builtin_prefetch(key.name.data);
        for (uint32_t n = 0; n < key.n_digests; n++) {
            if (digest_equal(file.digests[key.first_digest + n].bytes, d.data())) {
                return &key;
            }
        }
    }
}

key_table::file_info* key_table::file(uint64_t id)
{
    file_info* end = files_ + n_files_;
    file_info* found = std::find_if(files_, end, [&](const file_info& i) { return i.id == id; });
    return found == end ? nullptr : found;
}

verdict key_table::state_of(uint64_t file_id, const digest& d, int64_t now, shared_key*& found)
{
    found = nullptr;
    const file_info* f = file(file_id);
    if (!f) {
        return verdict::no_such_file;
    }

    found = find(*f, d);
    if (!found) {
        return verdict::unknown;
    }
    if (!found->enabled) {
        return verdict::disabled;
    }
    if (found->expires != 0 && now >= found->expires) {
        return verdict::expired;
    }
    return verdict::ok;
}

verdict key_table::check(uint64_t file, const digest& d, std::span<const uint8_t> address, int64_t now,
                         shared_key*& found)
{
    const verdict said = state_of(file, d, now, found);
    return said == verdict::ok && !found->policy->allows_address(address) ? verdict::network : said;
}

// In a key's list as in a request, Gemini's long form of a name is the name.
bool shared_policy::allows_model(std::string_view model) const
{
    model = short_model_name(model);
    // A tuned model is not among "models/*".
    const bool is_tuned = model.starts_with(tuned_models);
    return n_models == 0 || std::any_of(models, models + n_models, [&](const shared_text& pattern) {
               const std::string_view name = short_model_name(pattern.view());
               return (name.size() == pattern.size || !is_tuned) && glob_match(name, model);
           });
}

bool shared_policy::allows_all(std::string_view names) const
{
    while (!names.empty()) {
        const size_t end = names.find('\0');
        if (!allows_model(names.substr(0, end))) {
            return false;
        }
        names.remove_prefix(std::min(names.size(), end + 1));
    }
    return true;
}

bool shared_policy::allows_address(std::span<const uint8_t> address) const
{
    if (n_networks == 0) {
        return true;
    }
    address = unmapped(address);
    return std::any_of(networks, networks + n_networks, [&](const network& n) {
        if (address.size() != (n.v6 ? 16u : 4u)) {
            return false;
        }
        size_t whole = n.prefix / 8;
        if (memcmp(n.address.data(), address.data(), whole) != 0) {
            return false;
        }
        unsigned rest = n.prefix % 8;
        return rest == 0 || (n.address[whole] ^ address[whole]) >> (8 - rest) == 0;
    });
}

bool glob_match(std::string_view pattern, std::string_view text)
{
    size_t p = 0, t = 0;
    size_t star = std::string_view::npos, resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            p++;
            t++;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

} // namespace llm
