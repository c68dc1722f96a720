// nginx's configuration, as far as llmctl wants to know it.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llm::ctl {

struct directive {
    std::vector<std::string> words; // the name first; without quotes
    std::vector<directive>
        block; // what is in its braces; files that are included are in place of the `include`
};

// Files by their name, in the order in which nginx read them.
using conf_files = std::vector<std::pair<std::string, std::string>>;

class nginx_conf {
public:
    // What the nginx on this machine would be started with: by `nginx -T`, or, if nginx finds that in error
    // (it does while there is no key file yet), by reading the files. The program is $LLM_NGINX, else `nginx`
    // where it is looked for and in /usr/sbin. Nothing, and why, if there is no nginx or no configuration.
    static std::optional<nginx_conf> load(std::string& why);

    // From what `nginx -T` prints on stdout.
    static nginx_conf of_dump(std::string_view dump);
    static nginx_conf of_files(const conf_files& files);

    const std::vector<directive>& top() const { return top_; }
    // A path in a directive, which begins where nginx.conf is unless it is absolute.
    std::string full_path(std::string_view path) const;

    // Calls f(directive, the blocks that it is in, outermost first) for each one with this name.
    using visitor = std::function<void(const directive&, std::span<const directive* const>)>;
    void each(std::string_view name, const visitor& f) const;

private:
    std::vector<directive> top_;
    std::string prefix_; // with a slash at its end
};

// The values of all directives `name` that have one: their first words, full paths, each once. "off" is none.
std::vector<std::string> key_files_of(const nginx_conf& conf);
// The same for `state=` of llm_zone.
std::vector<std::string> state_files_of(const nginx_conf& conf);

} // namespace llm::ctl
