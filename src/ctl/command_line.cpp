#include "command_line.h"

#include <algorithm>

namespace llm::ctl {

namespace {

const option* find_option(const command& of, std::string_view name)
{
    for (const std::span<const option> list : {of.options, std::span<const option>(common_options)}) {
        const auto found =
            std::find_if(list.begin(), list.end(), [&](const option& each) { return each.name == name; });
        if (found != list.end()) {
            return &*found;
        }
    }
    return nullptr;
}

} // namespace

std::optional<std::string_view> arguments::value(std::string_view option) const
{
    const auto found = std::find_if(options_.rbegin(), options_.rend(),
                                    [&](const given& each) { return each.name == option; });
    return found == options_.rend() ? std::nullopt : std::optional(found->value);
}

std::vector<std::string_view> arguments::values(std::string_view option) const
{
    std::vector<std::string_view> found;
    for (const given& each : options_) {
        if (each.name == option) {
            found.push_back(each.value);
        }
    }
    return found;
}

std::optional<std::string> arguments::read(const command& of, std::span<const std::string_view> line)
{
    bool only_words = false;
    for (size_t i = 0; i < line.size(); i++) {
        const std::string_view word = line[i];
        if (only_words || word.size() < 2 || word[0] != '-') {
            words_.push_back(word);
            continue;
        }
        if (word == "--") {
            only_words = true;
            continue;
        }
        const size_t equals = word.find('=');
        const std::string_view name = word == "-h" ? "--help" : word.substr(0, equals);
        const option* found = find_option(of, name);
        // What stands behind "=" is not shown: it may be a secret in the wrong place.
        if (!found) {
            return "unknown option " + printable(name);
        }
        const bool has_value = equals != std::string_view::npos;
        if (found->value.empty()) {
            if (has_value) {
                return std::string(found->name) + " takes no value";
            }
            options_.push_back({found->name, {}});
        } else if (has_value) {
            options_.push_back({found->name, word.substr(equals + 1)});
        } else if (++i >= line.size()) {
            return std::string(found->name) + " needs a value: " + std::string(found->value);
        } else if (line[i].starts_with("--")) {
            // The value was forgotten, or is an odd one: it would be taken for what nobody meant.
            return std::string(found->name) + " needs a value; one that begins with -- is given as "
                   + std::string(found->name) + "=" + std::string(found->value);
        } else {
            options_.push_back({found->name, line[i]});
        }
    }
    if (has("--help")) {
        return std::nullopt;
    }
    if (words_.size() < of.least) {
        return std::string(of.least == 1 && of.most == 1 ? "an argument is missing: "
                                                         : "arguments are missing: ")
               + std::string(of.takes);
    }
    if (words_.size() > of.most) {
        return of.most == 0 ? "takes no arguments" : "too many arguments, expected " + std::string(of.takes);
    }
    return std::nullopt;
}

const command* find_command(std::span<const command> commands, std::span<const std::string_view> line,
                            size_t& words)
{
    for (const command& each : commands) {
        const size_t space = each.name.find(' ');
        words = space == std::string_view::npos ? 1 : 2;
        if (line.size() >= words && line[0] == each.name.substr(0, space)
            && (words == 1 || line[1] == each.name.substr(space + 1))) {
            return &each;
        }
    }
    return nullptr;
}

} // namespace llm::ctl
