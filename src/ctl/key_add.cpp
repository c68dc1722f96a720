#include "key_add.h"

#include "exit_code.h"
#include "first_request.h"
#include "json_text_writer.h"
#include "key_change.h"
#include "key_fields.h"
#include "keys/sha256.h"
#include "secret.h"

#include <cstdio>
#include <ctime>
#include <memory>
#include <unistd.h>

namespace llm::ctl {

namespace {

struct made_key {
    std::string_view name;
    std::unique_ptr<secret> key; // null: it has none
    digest hashed;
};

// A secret for each name, where there are to be any. Returns an exit code.
int make_secrets(const arguments& given, std::vector<made_key>& to, output& out)
{
    const bool from_stdin = given.has("--key-stdin");
    if (from_stdin && given.words().size() != 1) {
        return out.fail("--key-stdin is for one key");
    }
    if (from_stdin && given.has("--no-secret")) {
        return out.fail("--key-stdin gives a secret, --no-secret none: give one of both");
    }
    for (const std::string_view name : given.words()) {
        if (given.has("--no-secret")) {
            to.push_back({name, nullptr, {}});
            continue;
        }
        made_key& made = to.emplace_back(made_key{name, std::make_unique<secret>(), {}});
        if (from_stdin) {
            if (const auto error = made.key->read_stdin()) {
                return out.fail(*error);
            }
            if (made.key->text().size() < short_secret) {
                out.warn("a key of less than 16 characters can be guessed");
            }
        } else if (!made.key->make()) {
            return out.fail("OpenSSL has no random bytes");
        }
        if (!made.key->hash(made.hashed)) {
            return out.fail("OpenSSL has no SHA-256");
        }
    }
    return exit_well;
}

// The one place where a secret is shown, after it is in the file. What a program reads on stdout is the key
// alone; the rest is for people.
int show(const std::vector<made_key>& all, bool is_given, const std::string& curl, output& out)
{
    const bool is_terminal = isatty(STDOUT_FILENO) == 1;
    std::string json;
    json_text_writer writer(json);
    if (all.size() > 1) {
        writer.begin_array();
    }
    for (const made_key& each : all) {
        if (out.json()) {
            writer.begin_object();
            writer.field("name", each.name);
            if (!is_given && each.key) {
                writer.field("key", each.key->text());
            }
            writer.end_object();
        } else if (!each.key) {
            out.line(printable(each.name)
                     + ": added without a secret, nginx finds it by its name (identity=)");
        } else if (is_given) {
            out.line("the key of " + printable(each.name) + " is in the file");
        } else if (is_terminal) {
            out.line("# the key of " + printable(each.name) + ", not shown again:");
            out.put("KEY=");
            out.put(each.key->text());
            out.put("\n");
        } else {
            if (all.size() > 1) {
                out.put(printable(each.name) + " ");
            }
            out.put(each.key->text());
            out.put("\n");
        }
    }
    if (all.size() > 1) {
        writer.end_array();
    }
    if (out.json()) {
        out.line(json);
    } else if (!curl.empty() && is_terminal) {
        out.line("# try it:");
        out.line(curl);
    } else if (!curl.empty() && !all[0].key) {
        fprintf(stderr, "# try it:\n%s\n", curl.c_str());
    } else if (!curl.empty()) {
        fprintf(stderr, "# KEY is what stands on stdout. Try it:\n%s\n", curl.c_str());
    }
    if (!out.flush()) {
        return out.fail("the key is in the file but could not be shown: make another with llmctl key rotate");
    }
    return exit_well;
}

int members_of(const arguments& given, const made_key& made, const json_style& style, json_members& to,
               output& out)
{
    json_members limits;
    to = {{"name", json_quoted(made.name)}};
    for (const key_field& field : key_fields()) {
        if (field.name == "plan" && made.key) {
            to.emplace_back("sha256", '"' + to_hex(made.hashed) + '"');
        }
        if (field.is == key_field::kind::flag) {
            continue;
        }
        const auto text = given.value("--" + std::string(field.name));
        if (!text) {
            continue;
        }
        const auto value = field_json(field, *text, time(nullptr), style);
        if (!value) {
            return out.wrong("--" + std::string(field.name) + ": " + std::string(expected_of(field))
                             + ", got " + (text->empty() ? "none" : std::string(*text)));
        }
        (field.is == key_field::kind::limit ? limits : to).emplace_back(field.name, *value);
    }
    if (limits.size() == 1 && limits[0].first == "quota") {
        to.push_back(limits[0]);
    } else if (!limits.empty()) {
        to.emplace_back("limits", object_text(limits, style));
    }
    if (given.has("--admin")) {
        to.emplace_back("admin", "true");
    }
    if (given.has("--disabled")) {
        to.emplace_back("enabled", "false");
    }
    return exit_well;
}

} // namespace

int run_key_add(const arguments& given, output& out)
{
    lazy_nginx_conf conf;
    const auto path = find_key_file(given, conf, out);
    if (!path) {
        return exit_failed;
    }
    std::vector<made_key> all;
    if (const int code = make_secrets(given, all, out)) {
        return code;
    }
    if (given.has("--no-secret") && secrets_in(*path, conf.get()) == secrets_rule::needed) {
        return out.wrong("nginx refuses keys without a secret in " + *path
                         + ": no llm_api_keys of it has identity=, which could find them by their names");
    }
    const bool is_new = access(path->c_str(), F_OK) != 0;
    const new_file make{true, worker_group_for(*path, conf)};
    std::string model;
    const int code = change_key_file(
        *path, make,
        [&](key_text& keys, const key_file&) {
            for (const made_key& each : all) {
                if (keys.find(each.name)) {
                    return out.wrong("there is a key " + std::string(each.name) + " already");
                }
                json_members members;
                if (const int wrong = members_of(given, each, inline_style(keys.text()), members, out)) {
                    return wrong;
                }
                keys.add(members);
            }
            return exit_well;
        },
        out);
    if (code != exit_well) {
        return code;
    }
    if (is_new && !make.group) {
        out.warn(*path + " is readable for your own group only: make it that of nginx's workers (chgrp)");
    }
    if (is_past(*find_key_field("expires"), given.value("--expires").value_or(""), time(nullptr))) {
        out.warn("--expires: that time is over: the key is refused");
    }
    std::string curl;
    if (!out.json()) {
        key_file file;
        std::string text;
        if (read_key_file(*path, file, text, out) == exit_well) {
            for (const key_record& each : file.keys) {
                if (each.name == all[0].name) {
                    curl = curl_line(conf.get(), *path, each, file.policies[each.policy]);
                }
            }
        }
    }
    const int shown = show(all, given.has("--key-stdin"), curl, out);
    if (const auto header = given.value("--user_from"); header && shown == exit_well) {
        hint_user_from(*header, out);
    }
    return shown;
}

namespace {

// A key with `old` secrets and no newest one. Returns what is to be said of it.
const char* drop_newest(key_text& keys, size_t place, std::vector<digest> old)
{
    if (old.empty()) {
        keys.set(place, "sha256", "");
        keys.set(place, "key", "");
        return ": has no secret any more, nginx finds it by its name (identity=)";
    }
    const digest last = old.back();
    old.pop_back();
    keys.rotate(place, last, old, !old.empty());
    return ": its newest secret is gone";
}

// Why the only secret of a key is not taken away; empty if it may be.
std::string fault_of_none(const arguments& given, const std::string& path, lazy_nginx_conf& conf)
{
    switch (secrets_in(path, conf.get())) {
    case secrets_rule::needed:
        return ", and nginx refuses keys without one in " + path + ": no llm_api_keys of it has identity=";
    case secrets_rule::unknown:
        break;
    case secrets_rule::not_needed:
        return {};
    }
    return given.has("--no-secret")
               ? std::string()
               : ", and nginx's configuration "
                     + (conf.get() ? "does not name " + path : "is not known (" + conf.why_not() + ")")
                     + ": --no-secret takes it all the same";
}

// Ends all secrets but the newest, or the newest alone.
int drop_secrets(const arguments& given, const std::string& path, lazy_nginx_conf& conf, output& out)
{
    const bool newest = given.has("--drop-new");
    if (given.has("--keep-old") || given.has("--key-stdin") || given.has("--add-secret")
        || (newest && given.has("--drop-old"))) {
        return out.fail(std::string(newest ? "--drop-new" : "--drop-old")
                        + " makes no new secret: give it alone");
    }
    std::string said;
    const int code = change_key_file(
        path, {},
        [&](key_text& keys, const key_file& now) {
            std::vector<size_t> places;
            if (!find_keys(keys, given.words(), places, out)) {
                return exit_wrong;
            }
            said.clear();
            for (const size_t place : places) {
                const key_record& record = now.keys[place];
                std::vector<digest> old = record.digests;
                if (old.empty()) {
                    return out.wrong("key " + record.name + " has no secret");
                }
                const std::string wrong = newest && old.size() == 1 ? fault_of_none(given, path, conf) : "";
                if (old.size() == 1 && (!newest || !wrong.empty())) {
                    return out.wrong("key " + record.name + " has one secret only" + wrong);
                }
                // Which of them is the newer one nobody knows.
                if (old.size() > 1 && keys.plain(place).is_there) {
                    return out.wrong("key " + record.name
                                     + " has a plain key beside its sha256: rotate it without --keep-old");
                }
                const digest last = old.back();
                old.pop_back();
                said += printable(record.name);
                if (newest) {
                    said += drop_newest(keys, place, std::move(old));
                } else {
                    keys.rotate(place, last, {}, false);
                    said += ": only the newest secret is left";
                }
                said += '\n';
            }
            return exit_well;
        },
        out);
    if (code == exit_well) {
        out.put(out.json() ? "{\"ok\":true,\"file\":" + json_quoted(path) + "}\n" : said);
    }
    return code;
}

} // namespace

int run_key_rotate(const arguments& given, output& out)
{
    if (given.has("--no-secret") && !given.has("--drop-new")) {
        return out.fail("--no-secret is for --drop-new");
    }
    lazy_nginx_conf conf;
    const auto path = find_key_file(given, conf, out);
    if (!path) {
        return exit_failed;
    }
    if (given.has("--drop-old") || given.has("--drop-new")) {
        return drop_secrets(given, *path, conf, out);
    }
    std::vector<made_key> all;
    if (const int code = make_secrets(given, all, out)) {
        return code;
    }
    const int code = change_key_file(
        *path, {},
        [&](key_text& keys, const key_file& now) {
            for (const made_key& each : all) {
                const std::string_view names[] = {each.name};
                std::vector<size_t> places;
                if (!find_keys(keys, names, places, out)) {
                    return exit_wrong;
                }
                const std::vector<digest>& old = now.keys[places[0]].digests;
                // Whoever learns the secret could use a key that only its name was good for.
                if (old.empty() && !given.has("--add-secret")) {
                    return out.wrong(
                        "key " + std::string(each.name)
                        + " has no secret, nginx finds it by its name: --add-secret gives it one");
                }
                keys.rotate(places[0], each.hashed, old, given.has("--keep-old"));
            }
            return exit_well;
        },
        out);
    return code == exit_well ? show(all, given.has("--key-stdin"), "", out) : code;
}

} // namespace llm::ctl
