// Commands, their options, and what a command line says of them.
#pragma once

#include "output.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm::ctl {

struct option {
    std::string_view name;  // with "--"
    std::string_view value; // what its value is called in the help; empty if it has none
    std::string_view help;
};

// Those that every command has.
inline constexpr option common_options[] = {
    {"--json", "", "answers and errors are JSON"},
    {"--help", "", "shows this help"},
};

class arguments;

struct command {
    std::string_view name;  // "check", "key add"
    std::string_view takes; // as the help shows them: "NAME..."
    std::string_view help;  // one line
    size_t least;           // number of words behind the name
    size_t most;
    std::span<const option> options;       // besides those that all have
    int (*run)(const arguments&, output&); // returns an exit code
    std::string_view more = {};            // what the help says behind the options
};

inline constexpr size_t any_number = SIZE_MAX;

// The words and options of a command. The texts are those of the command line, which outlives it.
class arguments {
public:
    std::span<const std::string_view> words() const { return words_; }
    bool has(std::string_view option) const { return value(option).has_value(); }
    // Of options that are given more than once, the last. Empty for one that has no value.
    std::optional<std::string_view> value(std::string_view option) const;
    // All of them, in their order.
    std::vector<std::string_view> values(std::string_view option) const;

    // What is wrong with `line` for this command, or nothing. Options may be anywhere, `--` ends them. A
    // value is the next word, or stands behind `=`, where it may begin with `--` too.
    std::optional<std::string> read(const command& of, std::span<const std::string_view> line);

private:
    struct given {
        std::string_view name;
        std::string_view value;
    };
    std::vector<std::string_view> words_;
    std::vector<given> options_;
};

// The command that `line` begins with, and how many words its name has; null if there is none.
const command* find_command(std::span<const command> commands, std::span<const std::string_view> line,
                            size_t& words);

} // namespace llm::ctl
