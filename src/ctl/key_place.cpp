#include "key_place.h"

#include <cstdlib>

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

} // namespace llm::ctl
