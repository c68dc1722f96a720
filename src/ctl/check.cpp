#include "check.h"

#include "exit_code.h"
#include "json_text_writer.h"
#include "keys/key_file.h"

#include <cstdio>
#include <ctime>

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

} // namespace

int run_check(const arguments& given, output& out)
{
    const std::string path(given.words()[0]);
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
        if (!file.not_in_force.empty()) {
            json.text(file.not_in_force);
        }
        json.end_array();
        json.end_object();
        out.line(text);
        return exit_well;
    }
    out.line(path + ": " + std::to_string(keys) + " key" + (keys == 1 ? "" : "s") + " ("
             + std::to_string(disabled) + " disabled, " + std::to_string(expired) + " expired), "
             + std::to_string(policies) + " different polic" + (policies == 1 ? "y" : "ies"));
    if (!file.not_in_force.empty()) {
        out.line(path + ": note: " + file.not_in_force);
    }
    return exit_well;
}

} // namespace llm::ctl
