// Any bytes as choices, one after the other; when none is left, always the first.
#pragma once

#include <string>
#include <string_view>

class byte_choices {
public:
    explicit byte_choices(std::string_view bytes) : bytes_(bytes) {}

    bool none_left() const { return bytes_.empty(); }
    // Below `most`, which is at least 1.
    unsigned next(unsigned most)
    {
        if (bytes_.empty())
            return 0;
        const auto byte = static_cast<unsigned char>(bytes_.front());
        bytes_.remove_prefix(1);
        return byte % most;
    }
    // As it stands in JSON, within quotes.
    std::string some_text()
    {
        static constexpr std::string_view parts[] = {"",     "\\n",  "\\\"", "\xc3\xa9", "\\ud83d\\ude00",
                                                     "\\\\", "usage"};
        return std::string(next(30), 'a') + std::string(parts[next(7)]);
    }

private:
    std::string_view bytes_;
};
