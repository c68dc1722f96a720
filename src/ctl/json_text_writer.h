// JSON as text, with the commas where they belong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llm::ctl {

class json_text_writer {
public:
    // Appends to `to`, which outlives it.
    explicit json_text_writer(std::string& to) : to_(to) {}

    void begin_object() { begin('{'); }
    void end_object() { end('}'); }
    void begin_array() { begin('['); }
    void end_array() { end(']'); }

    void name(std::string_view name);
    void text(std::string_view text); // what is not UTF-8 becomes "?"
    void number(uint64_t value);
    // What is JSON already.
    void raw(std::string_view json);

    void field(std::string_view of, std::string_view value)
    {
        name(of);
        text(value);
    }
    void field(std::string_view of, uint64_t value)
    {
        name(of);
        number(value);
    }
    void flag(std::string_view of, bool value)
    {
        name(of);
        raw(value ? "true" : "false");
    }

private:
    void begin(char c);
    void end(char c);
    void part();

    std::string& to_;
    bool comma_ = false;
};

// `text` as a JSON string, with its quotes.
std::string json_quoted(std::string_view text);

} // namespace llm::ctl
