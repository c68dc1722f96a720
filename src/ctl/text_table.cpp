#include "text_table.h"

#include "display_text.h"

#include <algorithm>

namespace llm::ctl {

void text_table::add(const std::vector<std::string>& cells)
{
    std::vector<std::string>& row = rows_.emplace_back();
    for (const std::string& cell : cells) {
        row.push_back(printable(cell));
    }
}

std::string text_table::text() const
{
    std::vector<size_t> widths;
    for (size_t i = 0; i < columns_.size(); i++) {
        size_t width = columns_[i].title.size();
        for (const std::vector<std::string>& row : rows_) {
            width = std::max(width, row.empty() ? 0 : display_width(row[i]));
        }
        widths.push_back(width);
    }
    std::string result;
    const auto put_line = [&](auto cell) {
        std::string line;
        for (size_t i = 0; i < columns_.size(); i++) {
            const std::string text = cell(i);
            const std::string space(widths[i] - display_width(text), ' ');
            line += i == 0 ? "" : "  ";
            line += columns_[i].is_number ? space + text : text + space;
        }
        line.resize(line.find_last_not_of(' ') + 1);
        result += line + '\n';
    };
    put_line([&](size_t i) { return std::string(columns_[i].title); });
    for (const std::vector<std::string>& row : rows_) {
        put_line([&](size_t i) { return row.empty() ? std::string(widths[i], '-') : row[i]; });
    }
    return result;
}

std::string grouped(uint64_t number)
{
    const std::string digits = std::to_string(number);
    std::string text;
    for (size_t i = 0; i < digits.size(); i++) {
        if (i != 0 && (digits.size() - i) % 3 == 0) {
            text += ' ';
        }
        text += digits[i];
    }
    return text;
}

} // namespace llm::ctl
