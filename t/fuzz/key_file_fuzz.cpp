// Any text as a key file: no crash, every error has its place inside the text, and what is accepted is sound.

#include "core/shared/key_record.h"
#include "keys/json_locate.h"
#include "keys/key_file.h"
#include "keys/network_text.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

namespace {

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%d: not true: %s\n", __LINE__, #condition);                                     \
            abort();                                                                                         \
        }                                                                                                    \
    } while (false)

void check_error(std::string_view text, const llm::file_error& error)
{
    CHECK(!error.text.empty() && error.text.size() <= 300);
    CHECK(std::all_of(error.text.begin(), error.text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
    // jansson's messages quote the text, which may be a secret.
    CHECK(!error.text.starts_with("not JSON") || error.text.find(" near '") == std::string::npos);
    CHECK(error.line >= 1 && error.column >= 1);
    size_t start = 0;
    for (uint32_t line = 1; line < error.line; line++) {
        start = text.find('\n', start);
        CHECK(start != std::string_view::npos);
        start++;
    }
    const size_t end = std::min(text.find('\n', start), text.size());
    CHECK(error.column <= end - start + 1);
}

void check_rate(const llm::rate& rate)
{
    CHECK(rate.amount <= INT64_MAX);
    CHECK((rate.amount == 0) == (rate.period_ms == 0));
    CHECK(rate.period_ms <= 86400000);
}

void check_policy(const llm::key_policy& policy)
{
    check_rate(policy.limit.requests);
    check_rate(policy.limit.tokens);
    CHECK(policy.limit.burst >= -1 && policy.limit.token_burst >= -1);
    CHECK(policy.limit.concurrency == -1 || policy.limit.concurrency >= 1);
    CHECK(policy.limit.quota <= INT64_MAX);
    CHECK((policy.limit.quota == 0) == (policy.limit.window == llm::quota_window::none));
    CHECK(policy.models.size() <= 256 && policy.networks.size() <= 256);
    for (const std::string& model : policy.models) {
        CHECK(!model.empty() && model.size() <= 256);
    }
    for (llm::network range : policy.networks) {
        CHECK(range.prefix <= (range.v6 ? 128 : 32));
        CHECK(!llm::clear_host_bits(range));
        CHECK(llm::parse_network(llm::to_text(range)) == range);
        CHECK(range.v6 || std::all_of(range.address.begin() + 4, range.address.end(), [](uint8_t b) {
                  return b == 0;
              }));
    }
}

void check_name(std::string_view name)
{
    CHECK(name.size() <= llm::max_name);
    CHECK(std::none_of(name.begin(), name.end(),
                       [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; }));
}

void check_file(const llm::key_file& file)
{
    CHECK(!file.policies.empty());
    CHECK(!file.policies[0].limit.any() && file.policies[0].models.empty()
          && file.policies[0].networks.empty());
    for (const llm::key_policy& policy : file.policies) {
        check_policy(policy);
    }
    std::set<std::string> names;
    std::set<llm::digest> digests;
    for (const llm::key_record& key : file.keys) {
        CHECK(!key.name.empty());
        check_name(key.name);
        check_name(key.user);
        CHECK(names.insert(key.name).second);
        // None: it is found by its name, where that is allowed.
        for (const llm::digest& digest : key.digests) {
            CHECK(digests.insert(digest).second);
        }
        CHECK(key.policy < file.policies.size());
    }
}

bool same(const llm::rate& a, const llm::rate& b)
{
    return a.amount == b.amount && a.period_ms == b.period_ms;
}

bool same(const llm::key_policy& a, const llm::key_policy& b)
{
    return same(a.limit.requests, b.limit.requests) && same(a.limit.tokens, b.limit.tokens)
           && a.limit.burst == b.limit.burst && a.limit.concurrency == b.limit.concurrency
           && a.limit.token_burst == b.limit.token_burst && a.limit.quota == b.limit.quota
           && a.limit.window == b.limit.window && a.models == b.models && a.networks == b.networks
           && a.request == b.request && a.user_from == b.user_from && a.plan == b.plan;
}

bool same(const llm::key_record& a, const llm::key_record& b)
{
    return a.name == b.name && a.user == b.user && a.digests == b.digests && a.expires == b.expires
           && a.policy == b.policy && a.enabled == b.enabled;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    llm::key_file first, second;
    const auto error = llm::parse_key_file(text, first);
    const auto again = llm::parse_key_file(text, second);
    CHECK(error.has_value() == again.has_value());
    if (error) {
        check_error(text, *error);
        CHECK(error->text == again->text && error->line == again->line && error->column == again->column);
        CHECK(first.keys.empty() && first.policies.empty());
    } else {
        check_file(first);
        CHECK(std::equal(first.policies.begin(), first.policies.end(), second.policies.begin(),
                         second.policies.end(), [](const auto& a, const auto& b) { return same(a, b); }));
        CHECK(std::equal(first.keys.begin(), first.keys.end(), second.keys.begin(), second.keys.end(),
                         [](const auto& a, const auto& b) { return same(a, b); }));
        for (size_t i = 0; i < first.policies.size(); i++) {
            for (size_t j = 0; j < i; j++) {
                CHECK(!same(first.policies[i], first.policies[j]));
            }
        }
    }
    // Of text that is no JSON too.
    const llm::json_step path[] = {{"keys"}, {{}, 1, true}, {"limits"}};
    for (const llm::json_part part : {llm::json_part::value, llm::json_part::name}) {
        const auto offset = llm::json_locate(text, 0, path, part);
        CHECK(!offset || *offset < text.size());
    }
    return 0;
}
