#include "nginx_location.h"

#include <algorithm>
#include <memory>
#include <regex.h>

namespace llm::ctl {

namespace {

enum class match { exact, prefix, prefix_at_once, expression, expression_any_case, named };

struct location_name {
    match how;
    std::string_view text;
};

// "location = /x", "location /x", "location ~*\.php$"
location_name name_of(const directive& location)
{
    static constexpr std::pair<std::string_view, match> marks[] = {{"=", match::exact},
                                                                   {"^~", match::prefix_at_once},
                                                                   {"~*", match::expression_any_case},
                                                                   {"~", match::expression}};
    const std::vector<std::string>& words = location.words;
    std::string_view text = words.size() > 1 ? words[1] : std::string_view();
    for (const auto& [mark, how] : marks) {
        if (words.size() > 2 && text == mark) {
            return {how, words[2]};
        }
        if (words.size() == 2 && text.starts_with(mark)) {
            return {how, text.substr(mark.size())};
        }
    }
    return {text.starts_with('@') ? match::named : match::prefix, text};
}

bool is_expression(match how)
{
    return how == match::expression || how == match::expression_any_case;
}

void replace_all(std::string& in, std::string_view from, std::string_view to)
{
    for (size_t at = 0; (at = in.find(from, at)) != std::string::npos; at += to.size()) {
        in.replace(at, from.size(), to);
    }
}

// nginx's expressions are PCRE's, those of POSIX are nearly a part of them.
bool fits_expression(const location_name& name, std::string_view path)
{
    std::string pattern(name.text);
    for (const auto& [from, to] :
         {std::pair("\\z", "$"), {"\\Z", "$"}, {"\\A", "^"}, {"\\d", "[0-9]"}, {"(?:", "("}}) {
        replace_all(pattern, from, to);
    }
    for (size_t at = 0; (at = pattern.find("(?", at)) != std::string::npos; at++) {
        // A group with a name: (?<name>x), (?P<name>x), not (?<=x)
        const size_t open = at + (pattern.compare(at, 3, "(?P") == 0 ? 3 : 2);
        const size_t close = pattern.find('>', at);
        const bool is_named = pattern[open] == '<' && close != std::string::npos && pattern[open + 1] != '='
                              && pattern[open + 1] != '!';
        if (!is_named) {
            return false;
        }
        pattern.erase(at + 1, close - at);
    }
    regex_t compiled;
    const int flags = REG_EXTENDED | REG_NOSUB | (name.how == match::expression_any_case ? REG_ICASE : 0);
    if (regcomp(&compiled, pattern.c_str(), flags) != 0) {
        return false;
    }
    const bool fits = regexec(&compiled, std::string(path).c_str(), 0, nullptr, 0) == 0;
    regfree(&compiled);
    return fits;
}

// True if the search has come to its end: what encloses this block has no other say.
bool find_in(const std::vector<directive>& block, std::string_view path, conf_blocks& found)
{
    const directive* best = nullptr;
    location_name best_name{};
    for (const directive& each : block) {
        if (each.words[0] != "location") {
            continue;
        }
        const location_name name = name_of(each);
        if (name.how == match::exact && name.text == path) {
            found.push_back(&each);
            return true;
        }
        const bool is_prefix = name.how == match::prefix || name.how == match::prefix_at_once;
        if (is_prefix && path.starts_with(name.text) && (!best || name.text.size() > best_name.text.size())) {
            best = &each;
            best_name = name;
        }
    }
    const size_t level = found.size();
    if (best) {
        found.push_back(best);
        if (find_in(best->block, path, found)) {
            return true;
        }
    }
    for (const directive& each : block) {
        if (each.words[0] != "location" || (best && best_name.how == match::prefix_at_once)) {
            continue;
        }
        const location_name name = name_of(each);
        if (is_expression(name.how) && fits_expression(name, path)) {
            found.resize(level);
            found.push_back(&each);
            find_in(each.block, path, found);
            return true;
        }
    }
    return false;
}

// The characters behind "^" that stand for themselves.
std::string literal_start(std::string_view pattern)
{
    std::string text;
    if (!pattern.starts_with('^')) {
        return text;
    }
    pattern.remove_prefix(1);
    while (!pattern.empty()) {
        const bool is_escaped = pattern.size() > 1 && pattern[0] == '\\'
                                && std::string_view("./-_").find(pattern[1]) != std::string_view::npos;
        if (!is_escaped && std::string_view("\\.[](){}*+?|^$").find(pattern[0]) != std::string_view::npos) {
            // The last one may be there or not.
            if (std::string_view("*?{").find(pattern[0]) != std::string_view::npos && !text.empty()) {
                text.pop_back();
            }
            break;
        }
        text += pattern[is_escaped];
        pattern.remove_prefix(is_escaped ? 2 : 1);
    }
    return text;
}

void add_starts(const std::vector<directive>& block, std::vector<std::string>& to)
{
    for (const directive& each : block) {
        if (each.words[0] != "location") {
            continue;
        }
        const location_name name = name_of(each);
        std::string start = is_expression(name.how) ? literal_start(name.text) : std::string(name.text);
        if (start.starts_with('/') && std::find(to.begin(), to.end(), start) == to.end()) {
            to.push_back(std::move(start));
        }
        add_starts(each.block, to);
    }
}

} // namespace

conf_blocks find_location(const directive& server, std::string_view path)
{
    conf_blocks found;
    find_in(server.block, path, found);
    return found;
}

std::vector<std::string> path_starts(const directive& server)
{
    std::vector<std::string> starts;
    add_starts(server.block, starts);
    return starts;
}

const directive* in_force(const conf_blocks& blocks, std::string_view name)
{
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        for (const directive& each : (*block)->block) {
            if (each.words[0] == name) {
                return &each;
            }
        }
    }
    return nullptr;
}

} // namespace llm::ctl
