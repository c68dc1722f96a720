#include "check.h"

#include "exit_code.h"
#include "file_edit.h"
#include "json_text_writer.h"
#include "key_place.h"
#include "key_text.h"
#include "keys/key_file.h"
#include "secret.h"

#include <cstdio>
#include <ctime>
#include <sys/stat.h>

namespace llm::ctl {

namespace {

int tell_error(const std::string& path, const file_error& error, output& out)
{
    if (out.json()) {
        std::string text;
        json_text_writer json(text);
        json.begin_object();
        json.field("file", std::string_view(path));
        json.flag("ok", false);
        if (error.line != 0) {
            json.field("line", uint64_t{error.line});
            json.field("column", uint64_t{error.column});
        }
        json.field("error", std::string_view(error.text));
        json.end_object();
        out.line(text);
    } else if (error.line == 0) {
        fprintf(stderr, "%s: %s\n", path.c_str(), error.text.c_str());
    } else {
        fprintf(stderr, "%s:%u:%u: %s\n", path.c_str(), error.line, error.column, error.text.c_str());
    }
    return error.line == 0 ? exit_failed : exit_wrong;
}

// What is no error and yet not as it should be.
std::vector<std::string> warnings_of(const std::string& path, const key_file& file)
{
    std::vector<std::string> warnings;
    struct stat info {};
    std::string text;
    if (stat(path.c_str(), &info) != 0 || read_whole(path, text)) {
        return warnings;
    }
    char mode[8];
    snprintf(mode, sizeof mode, "%o", static_cast<unsigned>(info.st_mode & 07777));
    const key_text keys(std::move(text));
    size_t plain = 0;
    for (size_t i = 0; i < keys.size(); i++) {
        const key_text::plain_key key = keys.plain(i);
        plain += key.is_there;
        if (key.is_there && key.length < short_secret) {
            warnings.push_back("key \"" + file.keys[i].name
                               + "\" has less than 16 characters: it can be guessed");
        }
    }
    if (plain != 0 && (info.st_mode & S_IROTH)) {
        warnings.push_back("has " + std::to_string(plain) + (plain == 1 ? " plain key" : " plain keys")
                           + " and may be read by others (mode " + mode
                           + "): chmod 640, and llmctl key rotate");
    }
    if (info.st_mode & (S_IWGRP | S_IWOTH)) {
        warnings.push_back("may be written by others (mode " + std::string(mode) + "): chmod 640");
    } else if (!(info.st_mode & (S_IRGRP | S_IROTH))) {
        warnings.push_back(
            "may not be read by nginx's workers (mode " + std::string(mode)
            + "): a change is in force after a reload only. chmod 640, and chgrp to their group");
    }
    return warnings;
}

} // namespace

int run_check(const arguments& given, output& out)
{
    lazy_nginx_conf conf;
    const auto found = given.words().empty() ? find_key_file(given, conf, out)
                                             : std::optional(std::string(given.words()[0]));
    if (!found) {
        return exit_failed;
    }
    const std::string& path = *found;
    key_file file;
    if (const auto error = load_key_file(path.c_str(), file)) {
        return tell_error(path, *error, out);
    }
    size_t disabled = 0, expired = 0;
    const int64_t now = time(nullptr);
    for (const key_record& key : file.keys) {
        disabled += !key.enabled;
        expired += key.expires != 0 && key.expires <= now;
    }
    const size_t keys = file.keys.size(), policies = file.policies.size() - 1;
    const std::vector<std::string> warnings = warnings_of(path, file);
    if (out.json()) {
        std::string text;
        json_text_writer json(text);
        json.begin_object();
        json.field("file", std::string_view(path));
        json.flag("ok", true);
        json.field("keys", keys);
        json.field("disabled", disabled);
        json.field("expired", expired);
        json.field("policies", policies);
        json.name("warnings");
        json.begin_array();
        for (const std::string& each : warnings) {
            json.text(each);
        }
        json.end_array();
        json.end_object();
        out.line(text);
        return exit_well;
    }
    out.line(path + ": " + std::to_string(keys) + " key" + (keys == 1 ? "" : "s") + " ("
             + std::to_string(disabled) + " disabled, " + std::to_string(expired) + " expired), "
             + std::to_string(policies) + " different polic" + (policies == 1 ? "y" : "ies"));
    for (const std::string& each : warnings) {
        out.warn(path + ": " + each);
    }
    return exit_well;
}

} // namespace llm::ctl
