#include "key_place.h"

#include "file_edit.h"

#include <algorithm>
#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

namespace llm::ctl {

const nginx_conf* lazy_nginx_conf::get()
{
    if (!loaded_) {
        conf_ = nginx_conf::load(why_);
        loaded_ = true;
    }
    return conf_ ? &*conf_ : nullptr;
}

std::optional<std::string> find_key_file(const arguments& given, lazy_nginx_conf& conf, output& out)
{
    if (const auto file = given.value("--file")) {
        return std::string(*file);
    }
    const char* file = getenv("LLM_KEYS");
    if (file && *file) {
        return file;
    }
    const nginx_conf* found = conf.get();
    const std::vector<std::string> files = found ? key_files_of(*found) : std::vector<std::string>();
    if (files.size() > 1) {
        std::string text = "nginx's configuration has several key files: choose one with --file:";
        for (const std::string& each : files) {
            text += " " + each;
        }
        out.fail(text);
        return std::nullopt;
    }
    return files.empty() ? default_key_file : files[0];
}

bool is_same_file(const std::string& a, const std::string& b)
{
    struct stat one {};
    struct stat other {};
    return a == b
           || (stat(a.c_str(), &one) == 0 && stat(b.c_str(), &other) == 0 && one.st_dev == other.st_dev
               && one.st_ino == other.st_ino);
}

secrets_rule secrets_in(const std::string& path, const nginx_conf* conf)
{
    bool is_used = false, by_name = false;
    if (conf) {
        conf->each("llm_api_keys", [&](const directive& found, auto) {
            const std::vector<std::string>& words = found.words;
            if (words.size() > 1 && is_same_file(conf->full_path(words[1]), path)) {
                is_used = true;
                by_name |= std::any_of(words.begin() + 2, words.end(),
                                       [](const std::string& word) { return word.starts_with("identity="); });
            }
        });
    }
    if (!is_used) {
        return secrets_rule::unknown;
    }
    return by_name ? secrets_rule::not_needed : secrets_rule::needed;
}

void hint_user_from(std::string_view header, output& out)
{
    out.hint("The user of a request with this key is whoever its header " + std::string(header)
             + " names. Who has the key can name anyone: give it to the application alone, which has to set"
               " the header itself (docs/keys.md, Users of an application)");
}

std::optional<gid_t> worker_group_for(const std::string& path, lazy_nginx_conf& conf)
{
    if (geteuid() != 0 || access(path.c_str(), F_OK) == 0) {
        return std::nullopt;
    }
    std::string user, group;
    if (const nginx_conf* found = conf.get()) {
        for (const directive& each : found->top()) {
            if (each.words[0] == "user" && each.words.size() > 1) {
                user = each.words[1];
                group = each.words.size() > 2 ? each.words[2] : "";
            }
        }
    }
    if (!user.empty()) {
        return group_of_user(user, group);
    }
    // What the packages of Debian and of nginx have.
    const auto debian = group_of_user("www-data", "");
    return debian ? debian : group_of_user("nginx", "");
}

} // namespace llm::ctl
