#include "import.h"

#include "exit_code.h"
#include "import_keys.h"
#include "json_text_writer.h"
#include "key_change.h"
#include "keys/key_file.h"
#include "keys/sha256.h"

#include <openssl/crypto.h>
#include <set>
#include <unistd.h>

namespace llm::ctl {

namespace {

struct import_result {
    std::vector<json_members> added;
    std::vector<std::string> notes;
    size_t known = 0; // were in the file already
};

// The keys of the rows that the file does not have yet. Returns an exit code.
int plan(const std::vector<import_row>& rows, bool is_litellm, const key_file& now, const json_style& style,
         const std::string& source, import_result& to, output& out)
{
    std::set<std::string> names;
    std::set<digest> digests;
    for (const key_record& each : now.keys) {
        names.insert(each.name);
        digests.insert(each.digests.begin(), each.digests.end());
    }
    to = {};
    import_notes notes;
    for (const import_row& row : rows) {
        imported_key key;
        const auto wrong = (is_litellm ? litellm_key : fastapi_key)(row, style, key, notes);
        if (wrong) {
            return out.wrong(source + ":" + std::to_string(row.line) + ": " + *wrong);
        }
        if (!digests.insert(key.hashed).second) {
            to.known++;
            continue;
        }
        if (key.was_plain) {
            notes.add("the key was plain: its SHA-256 is taken");
        }
        std::string name = key.name;
        for (size_t i = 2; !names.insert(name).second; i++) {
            name = key.name + "-" + std::to_string(i);
        }
        json_members members = {{"name", json_quoted(name)}, {"sha256", '"' + to_hex(key.hashed) + '"'}};
        members.insert(members.end(), key.members.begin(), key.members.end());
        to.added.push_back(std::move(members));
    }
    to.notes = notes.texts();
    return exit_well;
}

int show(const import_result& result, bool is_dry, const std::string& path, output& out)
{
    if (out.json()) {
        std::string text;
        json_text_writer json(text);
        json.begin_object();
        json.field("file", std::string_view(path));
        json.flag("dry_run", is_dry);
        json.field("imported", uint64_t{result.added.size()});
        json.field("known", uint64_t{result.known});
        json.name("keys");
        json.begin_array();
        for (const json_members& each : result.added) {
            json.raw(object_text(each, {}));
        }
        json.end_array();
        json.name("notes");
        json.begin_array();
        for (const std::string& each : result.notes) {
            json.text(each);
        }
        json.end_array();
        json.end_object();
        out.line(text);
        return exit_well;
    }
    if (is_dry) {
        for (const json_members& each : result.added) {
            out.line(printable(object_text(each, {})));
        }
    }
    for (const std::string& each : result.notes) {
        out.warn(each);
    }
    const size_t count = result.added.size();
    out.line(path + ": " + std::to_string(count) + (count == 1 ? " key" : " keys")
             + (is_dry ? " would be imported, " : " imported, ") + std::to_string(result.known)
             + (result.known == 1 ? " was there already" : " were there already"));
    return exit_well;
}

} // namespace

int run_import(const arguments& given, output& out)
{
    const std::string_view format = given.value("--format").value_or("");
    if (format != "fastapi" && format != "litellm") {
        return out.fail("--format: expected fastapi or litellm");
    }
    const bool is_litellm = format == "litellm";
    const bool is_dry = given.has("--dry-run");
    const std::string source(given.words()[0]);
    lazy_nginx_conf conf;
    const auto path = find_key_file(given, conf, out);
    if (!path) {
        return exit_failed;
    }
    std::string text;
    if (const auto error = read_whole(source, text)) {
        return out.fail(error->text);
    }
    std::vector<import_row> rows;
    const auto wrong = (is_litellm ? read_table : read_key_list)(text, rows);
    OPENSSL_cleanse(text.data(), text.size());
    if (wrong) {
        return out.wrong(source + ":" + *wrong);
    }
    import_result result;
    const auto change = [&](key_text& keys, const key_file& now) {
        const int code = plan(rows, is_litellm, now, inline_style(keys.text()), source, result, out);
        if (code == exit_well) {
            keys.add_all(result.added);
        }
        return code;
    };
    int code = exit_well;
    if (is_dry) {
        // The same steps, on a copy.
        key_file now;
        std::string present(key_text::empty_file());
        if (access(path->c_str(), F_OK) == 0) {
            code = read_key_file(*path, now, present, out);
        }
        key_text keys(std::move(present));
        code = code == exit_well ? change(keys, now) : code;
        const auto error = code == exit_well ? parse_key_file(keys.text(), now) : std::nullopt;
        if (error) {
            return out.wrong(error->text);
        }
    } else {
        code = change_key_file(*path, new_file{true, worker_group_for(*path, conf)}, change, out);
    }
    return code == exit_well ? show(result, is_dry, *path, out) : code;
}

} // namespace llm::ctl
