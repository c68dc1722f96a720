#include "key_rules.h"

#include "core/base/bytes.h"
#include "secret_text.h"
#include "time_text.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

namespace llm {

namespace {

constexpr auto limit_names = [] {
    std::array<std::string_view, own_limit_fields> names{};
    std::transform(limit_fields.begin(), limit_fields.begin() + own_limit_fields, names.begin(),
                   [](const limit_field& field) { return field.name; });
    return names;
}();

void append_number(std::string& to, uint64_t value)
{
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// `to` = bytes that are the same for the same policies only.
void serialize(const key_policy& policy, std::string& to)
{
    to.clear();
    const limits& limit = policy.limit;
    for (const uint64_t value : {limit.requests.amount, limit.requests.period_ms, limit.tokens.amount,
                                 limit.tokens.period_ms, limit.quota, static_cast<uint64_t>(limit.window)}) {
        append_number(to, value);
    }
    for (const int64_t value : {limit.burst, limit.concurrency, limit.token_burst}) {
        append_number(to, static_cast<uint64_t>(value));
    }
    append_number(to, policy.models.size());
    for (const std::string& model : policy.models) {
        append_number(to, model.size());
        to += model;
    }
    append_number(to, policy.plan.size());
    to += policy.plan;
    append_number(to, policy.request.size());
    to += policy.request;
    append_number(to, policy.user_from.size());
    to += policy.user_from;
    append_number(to, policy.networks.size());
    for (const network& range : policy.networks) {
        to += static_cast<char>(range.v6);
        to += static_cast<char>(range.prefix);
        to.append(reinterpret_cast<const char*>(range.address.data()), range.address.size());
    }
}

// What `over` gives replaces what is in `to`.
void overlay(limits& to, const limits& over)
{
    if (over.requests.amount) {
        to.requests = over.requests;
    }
    if (over.burst >= 0) {
        to.burst = over.burst;
    }
    if (over.concurrency >= 0) {
        to.concurrency = over.concurrency;
    }
    if (over.tokens.amount) {
        to.tokens = over.tokens;
    }
    if (over.token_burst >= 0) {
        to.token_burst = over.token_burst;
    }
    if (over.window != quota_window::none) {
        to.quota = over.quota;
        to.window = over.window;
    }
}

} // namespace

key_rules::key_rules() : reader(check)
{
    policy_index({});
}

bool key_rules::add_plans(json_t* value)
{
    check.owner = {};
    if (!json_is_object(value)) {
        return check.fail_expected(nullptr, "an object of plans", value);
    }
    for (void* i = json_object_iter(value); i; i = json_object_iter_next(value, i)) {
        const trail at{nullptr, json_object_iter_key(i)};
        check.owner = {};
        if (!is_name(at.name)) {
            check.fail(nullptr, "the name of a plan has 1 to 80 bytes and no control characters");
            check.path.push_back({at.name});
            check.part = json_part::name;
            return false;
        }
        check.owner = {field_owner::kind::plan, at.name, 0, nullptr};
        if (!read_plan(nullptr, json_object_iter_value(i))) {
            // From the plan's path to the one from "plans".
            check.path.insert(check.path.begin(), json_step{at.name});
            return false;
        }
    }
    return true;
}

bool key_rules::read_plan(const trail* at, json_t* value)
{
    enum : size_t { models = own_limit_fields, request, networks, count };
    static constexpr auto fields = [] {
        std::array<std::string_view, count> names{};
        std::copy(limit_names.begin(), limit_names.end(), names.begin());
        names[models] = "models";
        names[request] = "request";
        names[networks] = "networks";
        return names;
    }();
    json_t* values[count];
    plan made{};
    if (!check.fields(at, value, fields, values)
        || !reader.read_limits(at, std::span(values).first<own_limit_fields>(), made.policy.limit)
        || !reader.read_models(at, values[models], made.policy.models)
        || !reader.read_networks(at, values[networks], made.policy.networks)
        || !reader.read_request(at, values[request], list_of_plan, made.policy.request)) {
        return false;
    }
    made.policy.plan = check.owner.plan;
    made.index = policy_index(made.policy);
    plans.emplace(check.owner.plan, std::move(made));
    return true;
}

bool key_rules::add_key(const json_t* value, size_t index)
{
    enum : size_t {
        name,
        user,
        sha256,
        secret,
        plan_name,
        expires,
        networks,
        models,
        request,
        own_limits,
        own_quota,
        enabled,
        admin,
        user_from,
        count
    };
    static constexpr std::string_view fields[count] = {"name",    "user",     "sha256", "key",      "plan",
                                                       "expires", "networks", "models", "request",  "limits",
                                                       "quota",   "enabled",  "admin",  "user_from"};
    json_t* values[count];
    check.owner = {field_owner::kind::key, {}, index, value};
    key_record record;
    if (!check.fields(nullptr, const_cast<json_t*>(value), fields, values)
        || !read_names(values[name], values[user], values[secret], record)
        || !read_digests(values[sha256], values[secret], record)
        || !read_expires(values[expires], record.expires)) {
        return false;
    }
    const plan* base = nullptr;
    key_policy own;
    if (!read_flag("enabled", values[enabled], record.enabled)
        || !read_flag("admin", values[admin], record.admin)
        || !read_user_from(values[user_from], own.user_from)) {
        return false;
    }

    if (!find_plan(values[plan_name], base) || !reader.read_models(nullptr, values[models], own.models)
        || !reader.read_networks(nullptr, values[networks], own.networks)
        || !reader.read_request(nullptr, values[request], list_of_key, own.request)) {
        return false;
    }
    if (values[own_limits]) {
        const trail at{nullptr, "limits"};
        json_t* limit_values[own_limit_fields];
        if (!check.fields(&at, values[own_limits], limit_names, limit_values)
            || !reader.read_limits(&at, limit_values, own.limit)) {
            return false;
        }
    }
    if (values[own_quota]) {
        const trail at{nullptr, "quota"};
        if (own.limit.window != quota_window::none) {
            return check.fail(&at, "is given here and in \"limits\", expected one of both");
        }
        if (!reader.read_limit(&at, quota_field, values[own_quota], own.limit)) {
            return false;
        }
    }
    record.policy = base ? base->index : 0;
    if (own.limit.any() || !own.models.empty() || !own.networks.empty() || !own.request.empty()
        || !own.user_from.empty()) {
        if (base) {
            limits merged = base->policy.limit;
            overlay(merged, own.limit);
            own.limit = merged;
            own.plan = base->policy.plan;
            own.request += base->policy.request; // both hold
            if (own.models.empty()) {
                own.models = base->policy.models;
            }
            if (own.networks.empty()) {
                own.networks = base->policy.networks;
            }
        }
        record.policy = policy_index(std::move(own));
    }
    result.keys.push_back(std::move(record));
    return check_unique(values[sha256]);
}

bool key_rules::read_flag(std::string_view name, const json_t* value, bool& to)
{
    if (!value) {
        return true;
    }
    if (!json_is_boolean(value)) {
        const trail at{nullptr, name};
        return check.fail_expected(&at, "true or false", value);
    }
    to = json_is_true(value);
    return true;
}

// Headers in which keys and other secrets come, which would be shown as names, and those that are about the
// connection or the message, of which none is the application's to set.
bool key_rules::names_no_user(std::string_view header)
{
    constexpr std::string_view names[] = {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "host",
        "via",
        "expect",
    };
    std::string lowcase(header);
    std::transform(lowcase.begin(), lowcase.end(), lowcase.begin(), ascii_lower);
    return lowcase.starts_with("sec-websocket-") || lowcase.starts_with("content-")
           || std::find(std::begin(names), std::end(names), lowcase) != std::end(names);
}

bool key_rules::read_user_from(const json_t* value, std::string& to)
{
    if (!value) {
        return true;
    }
    const trail at{nullptr, "user_from"};
    const std::string_view name = string_of(value);
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    };
    if (name.empty() || name.size() > max_name || !std::all_of(name.begin(), name.end(), fits)) {
        return check.fail_expected(
            &at, "the name of a header: 1 to 80 letters, digits and \"-\", such as \"X-User-Email\"", value);
    }
    if (names_no_user(name)) {
        return check.fail(&at, check.shown(name)
                                   + " cannot name a user: it has secrets, or is about the connection");
    }
    to = name;
    return true;
}

bool key_rules::read_names(const json_t* name, const json_t* user, const json_t* secret, key_record& to)
{
    for (const auto& [field, value] : {std::pair("name", name), std::pair("user", user)}) {
        const trail at{nullptr, field};
        if (!value) {
            continue;
        }
        if (!json_is_string(value)) {
            return check.fail_expected(&at, "a string", value);
        }
        if (!is_name(string_of(value))) {
            return check.fail(&at, "expected 1 to 80 bytes without control characters");
        }
        if (string_of(value) == string_of(secret)) {
            return check.fail(&at, "is the same as \"key\": names are shown in logs");
        }
    }
    if (!name && !user) {
        return check.fail(nullptr, "has neither \"name\" nor \"user\"");
    }
    to.name = string_of(name ? name : user);
    to.user = string_of(user);
    return true;
}

bool key_rules::read_digests(const json_t* sha256, const json_t* secret, key_record& to)
{
    if (sha256) {
        const trail at{nullptr, "sha256"};
        const size_t size = json_array_size(sha256);
        if (json_is_array(sha256) && size == 0) {
            return check.fail(&at, "expected 64 hex digits or an array of such, got an empty array");
        }
        to.digests.reserve((json_is_array(sha256) ? size : 1) + (secret ? 1 : 0));
        for (size_t i = 0; i < size; i++) {
            const trail element{&at, {}, i, true};
            if (!read_digest(&element, json_array_get(sha256, i), to.digests.emplace_back())) {
                return false;
            }
        }
        if (!json_is_array(sha256) && !read_digest(&at, sha256, to.digests.emplace_back())) {
            return false;
        }
    }
    if (secret) {
        const trail at{nullptr, "key"};
        if (!is_secret(string_of(secret))) {
            return check.fail(&at, "expected a string of 1 to 512 visible ASCII characters without spaces");
        }
        if (!llm::sha256(string_of(secret), to.digests.emplace_back())) {
            return check.fail(&at, "cannot be hashed: OpenSSL fails to compute SHA-256");
        }
    }
    return true;
}

bool key_rules::read_digest(const trail* at, const json_t* value, digest& to)
{
    if (parse_hex(string_of(value), to)) {
        return true;
    }
    // A string here may be a key that was pasted in the wrong place: it is not shown.
    if (json_is_string(value)) {
        return check.fail(at, "expected 64 hex digits, got a string of "
                                  + std::to_string(json_string_length(value)) + " other bytes");
    }
    return check.fail_expected(at, "64 hex digits", value);
}

bool key_rules::read_expires(const json_t* value, int64_t& to)
{
    if (!value) {
        return true;
    }
    const std::optional<int64_t> time = parse_time(string_of(value));
    if (!time) {
        const trail at{nullptr, "expires"};
        return check.fail_expected(&at, "a time such as \"2027-01-01T00:00:00Z\"", value);
    }
    // 0 stands for "never": the first second of 1970 must not become that.
    to = *time == 0 ? -1 : *time;
    return true;
}

// Looks for the name and the digests of the last key among those of all.
bool key_rules::check_unique(const json_t* sha256)
{
    const auto last = static_cast<uint32_t>(result.keys.size() - 1);
    const key_record& record = result.keys[last];
    const std::optional<uint32_t> namesake =
        names.insert(std::hash<std::string_view>()(record.name), last,
                     [&](uint32_t other) { return result.keys[other].name == record.name; });
    if (namesake) {
        const bool has_name = json_object_get(check.owner.key, "name");
        const trail at{nullptr, has_name ? "name" : "user"};
        return check.fail(&at, "keys[" + std::to_string(*namesake) + "] has this name already"
                                   + (has_name ? "" : "; a key without \"name\" is named after its user"));
    }
    for (size_t i = 0; i < record.digests.size(); i++) {
        const digest& value = record.digests[i];
        uint64_t start;
        memcpy(&start, value.data(), sizeof start);
        const std::optional<uint32_t> twin = digests.insert(start, last, [&](uint32_t other) {
            const std::vector<digest>& all = result.keys[other].digests;
            return std::find(all.begin(), all.end(), value) != all.end();
        });
        if (twin) {
            const trail list{nullptr, "sha256"}, element{&list, {}, i, true}, secret{nullptr, "key"};
            const size_t listed = json_is_array(sha256) ? json_array_size(sha256) : sha256 ? 1 : 0;
            return check.fail(i >= listed             ? &secret
                              : json_is_array(sha256) ? &element
                                                      : &list,
                              *twin == last ? "is given twice for this key"
                                            : "is also a key of " + check.shown(result.keys[*twin].name));
        }
    }
    return true;
}

bool key_rules::find_plan(const json_t* name, const plan*& to)
{
    if (!name) {
        return true;
    }
    const trail at{nullptr, "plan"};
    if (!json_is_string(name)) {
        return check.fail_expected(&at, "the name of a plan", name);
    }
    scratch = string_of(name);
    const auto found = plans.find(scratch);
    if (found == plans.end()) {
        return check.fail(&at, "there is no plan " + check.shown(scratch));
    }
    to = &found->second;
    return true;
}

uint32_t key_rules::policy_index(key_policy policy)
{
    serialize(policy, scratch);
    const auto next = static_cast<uint32_t>(result.policies.size());
    const std::optional<uint32_t> same =
        policies.insert(std::hash<std::string>()(scratch), next, [this](uint32_t other) {
            serialize(result.policies[other], other_scratch);
            return scratch == other_scratch;
        });
    if (same) {
        return *same;
    }
    result.policies.push_back(std::move(policy));
    return next;
}

key_file key_rules::take()
{
    return std::move(result);
}

} // namespace llm
