#include "key_list.h"

#include "core/limit/limit_text.h"
#include "exit_code.h"
#include "json_text_writer.h"
#include "key_change.h"
#include "keys/network_text.h"
#include "rule_text.h"
#include "text_table.h"

#include <ctime>

namespace llm::ctl {

namespace {

std::string amount_text(uint64_t amount)
{
    return amount % 1000000 == 0 && amount != 0 ? std::to_string(amount / 1000000) + "m"
           : amount % 1000 == 0 && amount != 0  ? std::to_string(amount / 1000) + "k"
                                                : std::to_string(amount);
}

std::string rate_text(const rate& value, bool is_requests)
{
    const char* period = value.period_ms == 1000      ? "/s"
                         : value.period_ms == 60000   ? "/m"
                         : value.period_ms == 3600000 ? "/h"
                                                      : "/d";
    return amount_text(value.amount) + (is_requests ? "r" : "") + period;
}

// The limits that the file gives a key, with those of its plan, as key files spell them.
std::vector<std::pair<const char*, std::string>> limit_texts(const limits& limit)
{
    std::vector<std::pair<const char*, std::string>> texts;
    if (limit.requests.amount != 0) {
        texts.emplace_back("requests", rate_text(limit.requests, true));
    }
    if (limit.burst >= 0) {
        texts.emplace_back("burst", std::to_string(limit.burst));
    }
    if (limit.concurrency >= 0) {
        texts.emplace_back("concurrency", std::to_string(limit.concurrency));
    }
    if (limit.tokens.amount != 0) {
        texts.emplace_back("tokens", rate_text(limit.tokens, false));
    }
    if (limit.token_burst >= 0) {
        texts.emplace_back("token_burst", amount_text(static_cast<uint64_t>(limit.token_burst)));
    }
    if (limit.window != quota_window::none) {
        static constexpr const char* windows[] = {"", "/h", "/d", "/w", "/mo", "/total"};
        texts.emplace_back("quota", amount_text(limit.quota) + windows[static_cast<size_t>(limit.window)]);
    }
    return texts;
}

std::string time_text(int64_t seconds)
{
    char buffer[limit_text_bytes];
    return std::string(write_time(seconds * 1000, buffer));
}

const char* state_of(const key_record& record, int64_t now)
{
    return !record.enabled                                ? "disabled"
           : record.expires != 0 && record.expires <= now ? "expired"
                                                          : "enabled";
}

void write_json(const key_record& record, const key_policy& policy, bool is_plain, json_text_writer& json)
{
    json.begin_object();
    json.field("name", std::string_view(record.name));
    if (!record.user.empty()) {
        json.field("user", std::string_view(record.user));
    }
    if (!policy.plan.empty()) {
        json.field("plan", std::string_view(policy.plan));
    }
    json.field("state", std::string_view(state_of(record, time(nullptr))));
    json.flag("admin", record.admin);
    if (record.expires != 0) {
        json.field("expires", std::string_view(time_text(record.expires)));
    }
    json.field("secrets", uint64_t{record.digests.size()});
    json.flag("plain_key", is_plain);
    if (!policy.user_from.empty()) {
        json.field("user_from", std::string_view(policy.user_from));
    }
    json.name("limits");
    json.begin_object();
    for (const auto& [name, text] : limit_texts(policy.limit)) {
        json.field(name, std::string_view(text));
    }
    json.end_object();
    json.name("models");
    json.begin_array();
    for (const std::string& each : policy.models) {
        json.text(each);
    }
    json.end_array();
    json.name("networks");
    json.begin_array();
    for (const network& each : policy.networks) {
        json.text(to_text(each));
    }
    json.end_array();
    write_rules("request", policy.request, rule_owner::key, json);
    write_rules("plan_request", policy.request, rule_owner::plan, json);
    json.end_object();
}

template <typename List>
std::string joined(const List& list)
{
    std::string text;
    for (const auto& each : list) {
        text += (text.empty() ? "" : ", ") + each;
    }
    return text;
}

std::string limits_line(const key_policy& policy)
{
    std::vector<std::string> words;
    for (const auto& [name, text] : limit_texts(policy.limit)) {
        words.push_back(std::string(name) + "=" + text);
    }
    return joined(words);
}

struct loaded_keys {
    key_file file;
    std::string text;
};

int load(const arguments& given, loaded_keys& to, output& out)
{
    lazy_nginx_conf conf;
    const auto path = find_key_file(given, conf, out);
    return path ? read_key_file(*path, to.file, to.text, out) : exit_failed;
}

} // namespace

int run_key_list(const arguments& given, output& out)
{
    loaded_keys loaded;
    if (const int code = load(given, loaded, out)) {
        return code;
    }
    const key_text keys(std::move(loaded.text));
    std::string json;
    json_text_writer writer(json);
    text_table table({{"NAME"}, {"USER"}, {"PLAN"}, {"STATE"}, {"EXPIRES"}, {"SECRET"}, {"LIMITS"}});
    writer.begin_array();
    for (size_t i = 0; i < loaded.file.keys.size(); i++) {
        const key_record& record = loaded.file.keys[i];
        const key_policy& policy = loaded.file.policies[record.policy];
        const bool is_plain = keys.plain(i).is_there;
        if (out.json()) {
            write_json(record, policy, is_plain, writer);
        } else {
            table.add({record.name, record.user, policy.plan, state_of(record, time(nullptr)),
                       record.expires != 0 ? time_text(record.expires) : "",
                       is_plain                    ? "plain"
                       : record.digests.empty()    ? "none"
                       : record.digests.size() > 1 ? std::to_string(record.digests.size()) + " sha256"
                                                   : "sha256",
                       limits_line(policy)});
        }
    }
    writer.end_array();
    out.put(out.json() ? json + "\n" : table.text());
    return exit_well;
}

int run_key_show(const arguments& given, output& out)
{
    loaded_keys loaded;
    if (const int code = load(given, loaded, out)) {
        return code;
    }
    const key_text keys(std::move(loaded.text));
    std::vector<size_t> places;
    if (!find_keys(keys, given.words(), places, out)) {
        return exit_wrong;
    }
    const key_record& record = loaded.file.keys[places[0]];
    const key_policy& policy = loaded.file.policies[record.policy];
    const bool is_plain = keys.plain(places[0]).is_there;
    if (out.json()) {
        std::string json;
        json_text_writer writer(json);
        write_json(record, policy, is_plain, writer);
        out.line(json);
        return exit_well;
    }
    std::vector<std::string> networks;
    for (const network& each : policy.networks) {
        networks.push_back(to_text(each));
    }
    std::vector<std::pair<const char*, std::string>> rows = {
        {"name", record.name},
        {"user", record.user},
        {"plan", policy.plan},
        {"state", state_of(record, time(nullptr))},
        {"admin", record.admin ? "yes" : ""},
        {"expires", record.expires != 0 ? time_text(record.expires) : ""},
        {"secrets", record.digests.empty() ? "none: nginx has to find it by its name (identity=)"
                                           : std::to_string(record.digests.size())
                                                 + (is_plain ? ", one of them as plain text" : "")},
        {"user from", policy.user_from},
        {"limits", limits_line(policy)},
        {"models", joined(policy.models)},
        {"networks", joined(networks)},
    };
    for (const rule_owner owner : {rule_owner::key, rule_owner::plan}) {
        for (const std::string& line : rule_lines(policy.request, owner)) {
            rows.emplace_back("request", line + (owner == rule_owner::plan ? " (its plan's)" : ""));
        }
    }
    for (const auto& [name, value] : rows) {
        if (!value.empty()) {
            out.line(std::string(name) + std::string(10 - std::string_view(name).size(), ' ')
                     + printable(value));
        }
    }
    return exit_well;
}

} // namespace llm::ctl
