// llmctl: makes, changes and checks keys, and shows what they have used. docs/llmctl.md

#include "command_table.h"
#include "exit_code.h"
#include "help_text.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace llm::ctl {

namespace {

int run(std::span<const std::string_view> line, output& out)
{
    const std::string_view first = line.empty() ? std::string_view() : line[0];
    if (first == "--version") {
        out.line("llmctl " LLM_VERSION);
        return exit_well;
    }
    if (first == "--help" || first == "-h" || first == "help") {
        line = line.subspan(1);
        size_t words = 0;
        const command* found = find_command(commands(), line, words);
        std::string text =
            found ? help_of(*found) : help_of_all(commands(), line.empty() ? std::string_view() : line[0]);
        if (text.empty()) {
            return out.fail("there is no command " + printable(line[0]) + ": see llmctl --help");
        }
        out.put(text);
        return exit_well;
    }
    size_t words = 0;
    const command* found = find_command(commands(), line, words);
    if (!found) {
        // "llmctl key" and "llmctl key --help" show the commands that begin with this word.
        const std::string text = help_of_all(commands(), first);
        if (text.empty()) {
            const std::string longer = "key " + std::string(first);
            const auto all = commands();
            const bool is_short =
                std::any_of(all.begin(), all.end(), [&](const command& each) { return each.name == longer; });
            return out.fail("there is no command " + printable(first)
                            + (is_short ? ": did you mean llmctl " + longer + "?" : ": see llmctl --help"));
        }
        if (line.size() == 2 && (line[1] == "--help" || line[1] == "-h")) {
            out.put(text);
            return exit_well;
        }
        if (line.size() > 1) {
            return out.fail("there is no command " + printable(first) + " " + printable(line[1])
                            + ": see llmctl " + printable(first) + " --help");
        }
        fputs(text.c_str(), stderr);
        return exit_failed;
    }
    arguments given;
    if (const auto error = given.read(*found, line.subspan(words))) {
        return out.fail(*error + ": see llmctl " + std::string(found->name) + " --help");
    }
    if (given.has("--help")) {
        out.put(help_of(*found));
        return exit_well;
    }
    return found->run(given, out);
}

} // namespace

} // namespace llm::ctl

int main(int count, char** words)
{
    using namespace llm::ctl;
    // A reader that is gone is an error of writing, which the command tells.
    signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string_view> line(words + std::min(count, 1), words + count);
    const auto options_end = std::find(line.begin(), line.end(), "--");
    output out(std::find(line.begin(), options_end, "--json") != options_end);
    const int result = run(line, out);
    return out.flush() ? result : out.fail("cannot write to stdout");
}
