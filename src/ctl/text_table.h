// A table for people: columns as wide as what is in them, numbers to the right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llm::ctl {

class text_table {
public:
    struct column {
        std::string_view title;
        bool is_number = false;
    };

    explicit text_table(std::vector<column> columns) : columns_(std::move(columns)) {}

    // One cell for each column. They are made printable.
    void add(const std::vector<std::string>& cells);
    // A line of dashes, before the sums.
    void rule() { rows_.push_back({}); }

    std::string text() const;

private:
    std::vector<column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

// "1234567" as "1 234 567" for people.
std::string grouped(uint64_t number);

} // namespace llm::ctl
