#include "help_text.h"

#include <algorithm>
#include <vector>

namespace llm::ctl {

namespace {

struct row {
    std::string left;
    std::string_view right;
};

// Two columns. What is long on the left has a line of its own.
void put_rows(std::string& to, const std::vector<row>& rows)
{
    constexpr size_t most = 30;
    size_t width = 0;
    for (const row& each : rows) {
        width = std::max(width, each.left.size() <= most ? each.left.size() : 0);
    }
    for (const row& each : rows) {
        to += "  " + each.left;
        if (each.left.size() > width) {
            to += "\n  " + std::string(width, ' ');
        } else {
            to += std::string(width - each.left.size(), ' ');
        }
        to += "  " + std::string(each.right) + "\n";
    }
}

std::string with(std::string_view name, std::string_view value)
{
    return std::string(name) + (value.empty() ? "" : " ") + std::string(value);
}

} // namespace

std::string help_of_all(std::span<const command> commands, std::string_view of)
{
    std::vector<row> rows;
    for (const command& each : commands) {
        if (of.empty() || each.name.substr(0, each.name.find(' ')) == of) {
            rows.push_back({with(each.name, each.takes), each.help});
        }
    }
    if (rows.empty()) {
        return {};
    }
    std::string text = "usage: llmctl COMMAND [OPTIONS] [ARGUMENTS]\n\n";
    put_rows(text, rows);
    text += "\nllmctl COMMAND --help shows the options of a command, llmctl --version the version.\n";
    return text;
}

std::string help_of(const command& one)
{
    std::string text =
        "usage: llmctl " + with(one.name, one.takes) + "\n\n  " + std::string(one.help) + "\n\n";
    std::vector<row> rows;
    for (const std::span<const option> list : {one.options, std::span<const option>(common_options)}) {
        for (const option& each : list) {
            rows.push_back({with(each.name, each.value), each.help});
        }
    }
    put_rows(text, rows);
    if (!one.more.empty()) {
        text += '\n' + std::string(one.more) + '\n';
    }
    return text;
}

} // namespace llm::ctl
