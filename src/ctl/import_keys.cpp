#include "import_keys.h"

#include "core/base/chars.h"
#include "core/base/utf8.h"
#include "display_text.h"
#include "json_text_writer.h"
#include "keys/secret_text.h"
#include "keys/sha256.h"

#include <algorithm>
#include <initializer_list>

namespace llm::ctl {

namespace {

constexpr size_t longest_name = 72; // leaves room for what makes it unique

std::string name_text(std::string_view text)
{
    return std::string(utf8_cut(printable(text), longest_name));
}

bool is_number(std::string_view text)
{
    return !text.empty() && text.size() <= 15 && std::all_of(text.begin(), text.end(), is_digit);
}

// -1: neither
int flag_of(std::string_view text)
{
    if (text == "true" || text == "t" || text == "True" || text == "1") {
        return 1;
    }
    return text == "false" || text == "f" || text == "False" || text == "0" ? 0 : -1;
}

// "2026-01-01 00:00:00.5+00" as databases write it, with a "T" and a zone.
std::string time_text(std::string text)
{
    if (text.size() > 10 && text[10] == ' ') {
        text[10] = 'T';
    }
    if (text.size() <= 10) {
        return text + "T00:00:00Z";
    }
    const size_t zone = text.find_first_of("+-Zz", 11);
    if (zone == std::string::npos) {
        return text + "Z";
    }
    return text.size() - zone == 3 && text[zone] != 'Z' ? text + ":00" : text;
}

std::string list_json(const std::vector<std::string>& items, const json_style& style)
{
    std::vector<std::string> quoted;
    for (const std::string& each : items) {
        quoted.push_back(json_quoted(each));
    }
    return array_text(quoted, style);
}

void add_limits(json_members& to, const json_members& limits, const json_style& style)
{
    if (!limits.empty()) {
        to.emplace_back("limits", object_text(limits, style));
    }
}

std::optional<std::string> take_secret(const std::string& text, imported_key& key)
{
    key.was_plain = true;
    if (!is_secret(text)) {
        return "the key is not 1 to 512 visible ASCII characters without spaces";
    }
    return sha256(text, key.hashed) ? std::nullopt : std::optional<std::string>("OpenSSL has no SHA-256");
}

void name_it(const import_row& row, std::initializer_list<std::string_view> names, const std::string& secret,
             imported_key& key)
{
    for (const std::string_view each : names) {
        const import_value* found = row.find({each});
        // A name that has the key in it would be in every log.
        if (found && (secret.empty() || found->text.find(secret) == std::string::npos)) {
            key.name = name_text(found->text);
            return;
        }
    }
    key.name = "key-" + to_hex(key.hashed).substr(0, 8);
}

// Says which values of the row nothing is made of.
void note_others(const import_row& row, std::initializer_list<std::string_view> known, import_notes& notes)
{
    for (const auto& [name, value] : row.values) {
        const bool is_empty = value.is_list ? value.items.empty() : value.text.empty();
        if (!is_empty && name.size() <= 40 && std::find(known.begin(), known.end(), name) == known.end()) {
            notes.add("\"" + name + "\" is not taken over");
        }
    }
}

} // namespace

void import_notes::add(const std::string& what)
{
    const auto found =
        std::find_if(counts_.begin(), counts_.end(), [&](const auto& each) { return each.first == what; });
    if (found != counts_.end()) {
        found->second++;
    } else {
        counts_.emplace_back(what, 1);
    }
}

std::vector<std::string> import_notes::texts() const
{
    std::vector<std::string> texts;
    for (const auto& [what, count] : counts_) {
        texts.push_back(what + " (" + std::to_string(count) + (count == 1 ? " key)" : " keys)"));
    }
    return texts;
}

std::optional<std::string> fastapi_key(const import_row& row, const json_style& style, imported_key& key,
                                       import_notes& notes)
{
    const import_value* secret = row.find({"key", "api_key", "token"});
    if (!secret) {
        return "has no \"key\"";
    }
    if (auto error = take_secret(secret->text, key)) {
        return error;
    }
    name_it(row, {"name", "user", "username", "user_id"}, secret->text, key);
    if (const import_value* user = row.find({"user", "username", "user_id"})) {
        if (user->text.find(secret->text) == std::string::npos) {
            key.members.emplace_back("user", json_quoted(name_text(user->text)));
        }
    }
    if (const import_value* models = row.find({"models", "allowed_models"})) {
        key.members.emplace_back(
            "models", list_json(models->is_list ? models->items : std::vector{models->text}, style));
    }
    if (const import_value* expires = row.find({"expires", "expires_at"})) {
        key.members.emplace_back("expires", json_quoted(time_text(expires->text)));
    }
    if (const import_value* quota = row.find({"quota"})) {
        if (quota->text == "0" || quota->text == "-1") {
            return "a quota of " + quota->text
                   + " may mean none or no limit: say which, by leaving it out or by \"enabled\": false";
        }
        key.members.emplace_back("quota", is_number(quota->text) ? quota->text : json_quoted(quota->text));
    }
    const import_value* enabled = row.find({"enabled", "active"});
    const import_value* disabled = row.find({"disabled"});
    if ((enabled && flag_of(enabled->text) < 0) || (disabled && flag_of(disabled->text) < 0)) {
        return "\"enabled\" is neither true nor false";
    }
    if ((enabled && flag_of(enabled->text) == 0) || (disabled && flag_of(disabled->text) == 1)) {
        key.members.emplace_back("enabled", "false");
    }
    note_others(row,
                {"key", "api_key", "token", "name", "user", "username", "user_id", "models", "allowed_models",
                 "expires", "expires_at", "quota", "enabled", "active", "disabled"},
                notes);
    return std::nullopt;
}

std::optional<std::string> litellm_key(const import_row& row, const json_style& style, imported_key& key,
                                       import_notes& notes)
{
    const import_value* token = row.find({"token"});
    if (!token) {
        return "has no \"token\"";
    }
    // Old rows have keys as they are.
    if (!parse_hex(token->text, key.hashed)) {
        if (!token->text.starts_with("sk-")) {
            return "\"token\" is no SHA-256 in 64 hex digits";
        }
        if (auto error = take_secret(token->text, key)) {
            return error;
        }
    }
    name_it(row, {"key_alias", "user_id"}, key.was_plain ? token->text : "", key);
    if (const import_value* user = row.find({"user_id"})) {
        key.members.emplace_back("user", json_quoted(name_text(user->text)));
    }
    if (const import_value* expires = row.find({"expires"})) {
        key.members.emplace_back("expires", json_quoted(time_text(expires->text)));
    }
    bool is_enabled = true;
    if (const import_value* models = row.find({"models"})) {
        const std::vector<std::string> items = models->is_list ? models->items : std::vector{models->text};
        const auto has = [&](const char* name) {
            return std::find(items.begin(), items.end(), name) != items.end();
        };
        if (has("no-default-models")) {
            notes.add("\"models\" is \"no-default-models\": the key is disabled");
            is_enabled = false;
        } else if (has("all-team-models")) {
            notes.add(
                "\"models\" is \"all-team-models\": the key is disabled, since teams are not known here");
            is_enabled = false;
        } else if (!has("all-proxy-models")) {
            key.members.emplace_back("models", list_json(items, style));
        }
    }
    json_members limits;
    static constexpr struct {
        std::string_view from, to, unit;
    } numbers[] = {{"rpm_limit", "requests", "r/m"},
                   {"tpm_limit", "tokens", "/m"},
                   {"max_parallel_requests", "concurrency", ""}};
    for (const auto& [from, to, unit] : numbers) {
        const import_value* value = row.find({from});
        if (!value) {
            continue;
        }
        if (!is_number(value->text)) {
            return "\"" + std::string(from) + "\" is no number";
        }
        if (value->text.find_first_not_of('0') == std::string::npos) {
            notes.add("\"" + std::string(from) + "\" is 0: the key is disabled");
            is_enabled = false;
            continue;
        }
        limits.emplace_back(to, unit.empty() ? value->text : json_quoted(value->text + std::string(unit)));
    }
    add_limits(key.members, limits, style);
    if (const import_value* blocked = row.find({"blocked"})) {
        if (flag_of(blocked->text) < 0) {
            return "\"blocked\" is neither true nor false";
        }
        is_enabled = is_enabled && flag_of(blocked->text) == 0;
    }
    if (!is_enabled) {
        key.members.emplace_back("enabled", "false");
    }
    // These limit what a key may do, so that it may do more here.
    for (const char* money : {"max_budget", "soft_budget", "budget_id", "model_max_budget", "team_id",
                              "organization_id", "allowed_routes"}) {
        const import_value* value = row.find({money});
        if (value && value->text != "{}") {
            notes.add(std::string("\"") + money + "\" is not taken over"
                      + (std::string_view(money).find("budget") != std::string_view::npos
                             ? ": it is about money, a \"quota\" is in tokens"
                             : ""));
        }
    }
    return std::nullopt;
}

} // namespace llm::ctl
