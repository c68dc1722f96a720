#include "size.h"

#include "core/base/chars.h"
#include "core/shared/key_table.h"
#include "exit_code.h"
#include "json_text_writer.h"
#include "keys/key_file.h"
#include "text_table.h"
#include "zone_size.h"

#include <algorithm>
#include <string>
#include <unordered_set>

namespace llm::ctl {

namespace {

// More than this no zone can hold of anything; sums of these fit into 64 bits.
constexpr uint64_t most = 10'000'000'000;

// "12", "12k", "3m". Nothing if it is no such number.
std::optional<uint64_t> count_of(std::string_view text)
{
    uint64_t unit = 1;
    if (!text.empty() && (text.back() == 'k' || text.back() == 'm')) {
        unit = text.back() == 'k' ? 1000 : 1'000'000;
        text.remove_suffix(1);
    }
    if (text.empty() || text.size() > 11 || !std::all_of(text.begin(), text.end(), is_digit)) {
        return std::nullopt;
    }
    const uint64_t count = std::stoull(std::string(text)) * unit;
    return count <= most ? std::optional(count) : std::nullopt;
}

// What only a key file tells.
struct file_facts {
    bool is_there = false;
    uint64_t users = 0;
    bool names_users = false; // one of its keys has user_from
};

// An exit code, or nothing if all is well.
std::optional<int> count_keys(const std::string& path, zone_needs& needs, file_facts& facts, output& out)
{
    key_file file;
    if (const auto error = load_key_file(path.c_str(), file)) {
        const std::string at = error->line != 0 ? ":" + std::to_string(error->line) : "";
        const std::string text = path + at + ": " + error->text;
        return error->line == 0 ? out.fail(text) : out.wrong(text);
    }
    std::unordered_set<std::string_view> users;
    for (const key_record& key : file.keys) {
        if (!key.user.empty()) {
            users.insert(key.user);
        }
    }
    needs.keys = file.keys.size();
    needs.users = users.size();
    facts = {true, users.size(),
             std::any_of(file.policies.begin(), file.policies.end(),
                         [](const auto& each) { return !each.user_from.empty(); })};
    const key_file* files[] = {&file};
    needs.key_bytes = key_table::bytes(files);
    return std::nullopt;
}

// What of these numbers cannot be; empty if all of it can.
std::string contradiction(const arguments& given, const zone_needs& n, const file_facts& file)
{
    const auto number = [](uint64_t count) { return std::to_string(count); };
    if (n.used > n.keys) {
        return "--used: there are only " + number(n.keys) + " keys";
    }
    if (n.users > n.keys) {
        return "--users: " + number(n.keys) + " keys cannot belong to " + number(n.users)
               + " users; those that an application names are for --user_from";
    }
    if (n.users < file.users) {
        return "--users: the keys of the file belong to " + number(file.users) + " users";
    }
    if (n.named != 0 && (n.used == 0 || (file.is_there && !file.names_users))) {
        return file.is_there && !file.names_users ? "--user_from: no key of the file has user_from"
                                                  : "--user_from: no key is used, by which users could come";
    }
    if (n.all_models < n.models && n.used != 0) {
        return "--all-models: there cannot be fewer of all keys than the " + number(n.models) + " of one";
    }
    // Of more than `most` nobody asks.
    const uint64_t different = n.used != 0 && n.models > most / n.used ? most : n.used * n.models;
    if (given.has("--all-models") && n.all_models > different) {
        return "--all-models: " + number(n.used) + " keys that use " + number(n.models)
               + " models each (--models) use at most " + number(different) + " different ones";
    }
    return {};
}

// An exit code, or nothing if all is well.
std::optional<int> read_needs(const arguments& given, zone_needs& needs, output& out)
{
    std::optional<std::string> wrong;
    const auto number = [&](std::string_view option, uint64_t otherwise) {
        const auto text = given.value(option);
        const auto count = text ? count_of(*text) : otherwise;
        if (!count && !wrong) {
            wrong = std::string(option) + ": " + std::string(*text) + " is no number such as 500, 20k or 1m";
        }
        return count.value_or(0);
    };
    if (given.has("--file") == given.has("--keys")) {
        return out.fail("expected one of --keys and --file");
    }
    file_facts facts;
    if (const auto file = given.value("--file")) {
        if (const auto code = count_keys(std::string(*file), needs, facts, out)) {
            return code;
        }
        needs.users = number("--users", needs.users);
    } else {
        needs.keys = number("--keys", 0);
        needs.users = number("--users", needs.keys);
    }
    needs.named = number("--user_from", 0);
    needs.used = number("--used", needs.keys);
    needs.models = number("--models", 1);
    needs.all_models = number("--all-models", needs.models);
    needs.requests = number("--requests", 1000);
    needs.addresses = number("--addresses", 0);
    if (!wrong) {
        if (const std::string text = contradiction(given, needs, facts); !text.empty()) {
            wrong = text;
        }
    }
    return wrong ? std::optional(out.fail(*wrong)) : std::nullopt;
}

std::string json_of(const zone_size& size)
{
    std::string text;
    json_text_writer json(text);
    json.begin_object();
    json.field("size", std::string_view(zone_size_text(size.bytes)));
    json.field("bytes", size.bytes);
    if (size.decides) {
        json.field("decides", size.parts[*size.decides].name);
    }
    json.name("parts");
    json.begin_array();
    for (const zone_part& part : size.parts) {
        json.begin_object();
        json.field("part", part.name);
        json.field("needed", part.needed);
        json.field("room", part.room);
        json.end_object();
    }
    json.end_array();
    json.end_object();
    return text + "\n";
}

std::string table_of(const zone_size& size)
{
    text_table table({{"PART", false}, {"NEEDED", true}, {"ROOM", true}, {"", false}});
    for (size_t i = 0; i < size.parts.size(); i++) {
        const zone_part& part = size.parts[i];
        const bool is_bytes = part.area == zone_areas::keys;
        table.add({std::string(part.name), grouped(part.needed), grouped(part.room),
                   std::string(is_bytes ? "bytes" : "")
                       + (i == size.decides ? (is_bytes ? ", decides" : "decides") : "")});
    }
    return "llm_zone NAME:" + zone_size_text(size.bytes) + ";\n\n" + table.text();
}

} // namespace

int run_size(const arguments& given, output& out)
{
    zone_needs needs;
    if (const auto code = read_needs(given, needs, out)) {
        return *code;
    }
    const auto size = zone_size_for(needs);
    if (!size) {
        return out.wrong("no zone is large enough for that");
    }
    out.put(out.json() ? json_of(*size) : table_of(*size));
    return exit_well;
}

} // namespace llm::ctl
