#include "nginx_conf.h"

#include "core/base/chars.h"
#include "program_output.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fnmatch.h>
#include <fstream>
#include <glob.h>
#include <iterator>
#include <unistd.h>

namespace llm::ctl {

namespace {

// Splits a file into directives. What nginx would refuse gives some result, too.
class conf_reader {
public:
    explicit conf_reader(std::string_view text) : text_(text) {}

    std::vector<directive> block(size_t depth = 0)
    {
        std::vector<directive> found;
        directive next;
        std::string word;
        while (at_ < text_.size()) {
            switch (text_[at_]) {
            case ';':
                at_++;
                put(found, next);
                break;
            case '}':
                at_++;
                return found;
            case '{':
                at_++;
                // Lua has braces and quotes of its own.
                if (!next.words.empty() && next.words[0].ends_with("_by_lua_block")) {
                    skip_foreign();
                } else if (depth < max_depth) {
                    next.block = block(depth + 1);
                }
                put(found, next);
                break;
            case '#':
                at_ = std::min(text_.find('\n', at_), text_.size());
                break;
            default:
                if (is_space(text_[at_])) {
                    at_++;
                } else {
                    next.words.push_back(read_word());
                }
            }
        }
        return found;
    }

private:
    static constexpr size_t max_depth = 100;

    static void put(std::vector<directive>& to, directive& next)
    {
        if (!next.words.empty()) {
            to.push_back(std::move(next));
        }
        next = {};
    }

    std::string read_word()
    {
        const char quote = text_[at_] == '"' || text_[at_] == '\'' ? text_[at_++] : '\0';
        std::string word;
        for (; at_ < text_.size(); at_++) {
            const char c = text_[at_];
            if (c == '\\' && at_ + 1 < text_.size()) {
                const char escaped = text_[++at_];
                // Others keep the backslash, as in regular expressions.
                if (!strchr("\"'\\", escaped)) {
                    word += c;
                }
                word += escaped;
                continue;
            }
            if (quote != '\0') {
                if (c == quote) {
                    at_++;
                    break;
                }
            } else if (is_space(c) || c == ';' || (c == '{' && !word.ends_with('$'))) {
                break;
            }
            word += c;
        }
        return word;
    }

    void skip_foreign()
    {
        for (size_t open = 1; at_ < text_.size() && open != 0; at_++) {
            open += text_[at_] == '{';
            open -= text_[at_] == '}';
        }
    }

    std::string_view text_;
    size_t at_ = 0;
};

std::string folder_of(std::string_view path)
{
    return std::string(path.substr(0, path.rfind('/') + 1));
}

std::string full(const std::string& prefix, std::string_view path)
{
    return path.starts_with('/') ? std::string(path) : prefix + std::string(path);
}

using file_texts = std::function<std::vector<std::string>(const std::string& pattern)>;

// Puts what is included in the place of each `include`. A configuration that includes itself ends after
// `left` of them.
std::vector<directive> flat(std::vector<directive> all, const std::string& prefix, const file_texts& texts,
                            int depth, size_t& left)
{
    std::vector<directive> result;
    for (directive& each : all) {
        if (each.words[0] != "include" || each.words.size() != 2) {
            each.block = flat(std::move(each.block), prefix, texts, depth, left);
            result.push_back(std::move(each));
            continue;
        }
        if (depth == 0 || left == 0) {
            continue;
        }
        left--;
        for (const std::string& text : texts(full(prefix, each.words[1]))) {
            std::vector<directive> more = flat(conf_reader(text).block(), prefix, texts, depth - 1, left);
            result.insert(result.end(), std::make_move_iterator(more.begin()),
                          std::make_move_iterator(more.end()));
        }
    }
    return result;
}

std::vector<directive> flat(std::string_view text, const std::string& prefix, const file_texts& texts)
{
    size_t left = 10000;
    return flat(conf_reader(text).block(), prefix, texts, 20, left);
}

std::optional<std::string> read_text(const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return std::nullopt;
    }
    return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> read_pattern(const std::string& pattern)
{
    std::vector<std::string> texts;
    glob_t found{};
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (auto text = read_text(found.gl_pathv[i])) {
                texts.push_back(std::move(*text));
            }
        }
    }
    globfree(&found);
    return texts;
}

void walk(const std::vector<directive>& in, std::string_view name, std::vector<const directive*>& parents,
          const nginx_conf::visitor& f)
{
    for (const directive& each : in) {
        if (each.words[0] == name) {
            f(each, parents);
        }
        parents.push_back(&each);
        walk(each.block, name, parents, f);
        parents.pop_back();
    }
}

void add_once(std::vector<std::string>& to, std::string value)
{
    if (std::find(to.begin(), to.end(), value) == to.end()) {
        to.push_back(std::move(value));
    }
}

} // namespace

nginx_conf nginx_conf::of_files(const conf_files& files)
{
    nginx_conf conf;
    if (files.empty()) {
        return conf;
    }
    conf.prefix_ = folder_of(files[0].first);
    const file_texts texts = [&](const std::string& pattern) {
        std::vector<std::string> found;
        for (const auto& [name, text] : files) {
            if (fnmatch(pattern.c_str(), name.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0) {
                found.push_back(text);
            }
        }
        return found;
    };
    conf.top_ = flat(files[0].second, conf.prefix_, texts);
    return conf;
}

nginx_conf nginx_conf::of_dump(std::string_view dump)
{
    static constexpr std::string_view title = "# configuration file ";
    conf_files files;
    while (!dump.empty()) {
        const size_t end = std::min(dump.find('\n'), dump.size() - 1) + 1;
        const std::string_view line = dump.substr(0, end);
        if (line.starts_with(title) && line.ends_with(":\n")) {
            files.emplace_back(line.substr(title.size(), line.size() - title.size() - 2), "");
        } else if (!files.empty()) {
            files.back().second += line;
        }
        dump.remove_prefix(end);
    }
    return of_files(files);
}

std::optional<nginx_conf> nginx_conf::load(std::string& why)
{
    const char* given = getenv("LLM_NGINX");
    const std::string program = given && *given ? given : find_program("nginx", "/usr/sbin:/usr/local/sbin");
    if (program.empty()) {
        why = "there is no nginx on this machine";
        return std::nullopt;
    }
    const program_result dump = run_program({program, "-T", "-q"});
    if (dump.status == 0) {
        return of_dump(dump.out);
    }
    // `nginx -V` writes to stderr. `-q` is not known to it.
    const program_result built = run_program({program, "-V"});
    static constexpr std::string_view option = "--conf-path=";
    const size_t at = built.err.find(option);
    if (at == std::string::npos) {
        why = dump.status < 0 ? program + " cannot be run"
                              : program + " -T finds an error in its configuration";
        return std::nullopt;
    }
    const size_t start = at + option.size();
    const std::string main = built.err.substr(start, built.err.find_first_of(" \n'", start) - start);
    const auto text = read_text(main);
    if (!text) {
        why = main + ": " + strerror(errno);
        return std::nullopt;
    }
    nginx_conf conf;
    conf.prefix_ = folder_of(main);
    conf.top_ = flat(*text, conf.prefix_, read_pattern);
    return conf;
}

std::string nginx_conf::full_path(std::string_view path) const
{
    return full(prefix_, path);
}

void nginx_conf::each(std::string_view name, const visitor& f) const
{
    std::vector<const directive*> parents;
    walk(top_, name, parents, f);
}

std::vector<std::string> key_files_of(const nginx_conf& conf)
{
    std::vector<std::string> files;
    conf.each("llm_api_keys", [&](const directive& found, auto) {
        if (found.words.size() > 1 && found.words[1] != "off") {
            add_once(files, conf.full_path(found.words[1]));
        }
    });
    return files;
}

std::vector<std::string> state_files_of(const nginx_conf& conf)
{
    std::vector<std::string> files;
    conf.each("llm_zone", [&](const directive& found, auto) {
        for (const std::string& word : found.words) {
            if (word.starts_with("state=")) {
                add_once(files, conf.full_path(std::string_view(word).substr(6)));
            }
        }
    });
    return files;
}

} // namespace llm::ctl
