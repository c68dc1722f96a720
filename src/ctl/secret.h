// Keys that llmctl makes or is given.
#pragma once

#include "core/base/digest.h"

#include <optional>
#include <string>
#include <string_view>

namespace llm::ctl {

// A key of fewer bytes can be guessed.
inline constexpr size_t short_secret = 16;

// A text that is wiped when it goes. Room for the longest key is taken at once, so that it is never moved.
class secret {
public:
    secret();
    secret(const secret&) = delete;
    secret& operator=(const secret&) = delete;
    ~secret();

    // "sk-" and 43 characters for 256 bits from the system. False if there are none.
    bool make();
    // The first line of stdin, which a terminal does not show meanwhile. What is wrong with it, or nothing.
    std::optional<std::string> read_stdin();

    std::string_view text() const { return text_; }
    // False if OpenSSL fails.
    bool hash(digest& out) const;

private:
    std::string text_;
};

} // namespace llm::ctl
