// Why the present text of a key file is not in force.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm {

struct file_fault {
    static constexpr size_t max_text = 300;

    uint32_t line = 0; // from 1; 0: not about a place in the file
    uint32_t column = 0;
    uint16_t size = 0; // of the text; 0: there is no fault
    char bytes[max_text];

    file_fault() = default;
    file_fault(uint32_t at_line, uint32_t at_column, std::string_view text)
        : line(at_line), column(at_column), size(static_cast<uint16_t>(std::min(text.size(), max_text)))
    {
        memcpy(bytes, text.data(), size);
    }

    std::string_view text() const { return {bytes, size}; }
    bool is_one() const { return size != 0; }
};

} // namespace llm
