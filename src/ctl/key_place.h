// Which key file a command is about.
#pragma once

#include "command_line.h"
#include "nginx_conf.h"

#include <optional>
#include <string>
#include <sys/types.h>

namespace llm::ctl {

inline constexpr option file_option = {"--file", "FILE",
                                       "the key file; else $LLM_KEYS, else the one in nginx's configuration"};
inline constexpr const char* default_key_file = "/etc/nginx/llm/keys.json";

// nginx's configuration, read when it is first asked for.
class lazy_nginx_conf {
public:
    const nginx_conf* get();
    const std::string& why_not() const { return why_; }

private:
    bool loaded_ = false;
    std::optional<nginx_conf> conf_;
    std::string why_;
};

// --file, $LLM_KEYS, llm_api_keys in nginx's configuration, else the default. Nothing if the configuration
// has several: tells them.
std::optional<std::string> find_key_file(const arguments& given, lazy_nginx_conf& conf, output& out);

// Whether both lead to the same file, or are the same path.
bool is_same_file(const std::string& a, const std::string& b);

// Whether nginx refuses keys without a secret in a file: it does where llm_api_keys names the file, and never
// with identity=. Unknown: there is no configuration, or it does not name the file.
enum class secrets_rule { needed, not_needed, unknown };
secrets_rule secrets_in(const std::string& path, const nginx_conf* conf);

// What an application has to do whose key names its users by this header.
void hint_user_from(std::string_view header, output& out);

// The group of nginx's workers, for a key file that is to be made: the workers have to read it. None if the
// file is there, if the group is not known, or if we may not give files to it.
std::optional<gid_t> worker_group_for(const std::string& path, lazy_nginx_conf& conf);

} // namespace llm::ctl
