// JSON as a content handler writes it, with the commas where they belong.
#pragma once

#include "ngx/chain_writer.h"

#include <cstdint>
#include <string_view>

namespace llm {

class json_writer {
public:
    explicit json_writer(chain_writer& out) : out_(out) {}

    void begin_object() { begin("{"); }
    void end_object() { end("}"); }
    void begin_array() { begin("["); }
    void end_array() { end("]"); }

    void name(std::string_view name)
    {
        part();
        out_.put_quoted(name);
        out_.put(":");
        comma_ = false;
    }
    void number(uint64_t n)
    {
        part();
        out_.put(n);
    }
    void text(std::string_view text)
    {
        part();
        out_.put_quoted(text);
    }
    // Of literals, and of what is JSON already.
    void raw(std::string_view text)
    {
        part();
        out_.put(text);
    }

    void field(std::string_view of, uint64_t n)
    {
        name(of);
        number(n);
    }
    void field(std::string_view of, std::string_view value)
    {
        name(of);
        text(value);
    }
    void flag(std::string_view of, bool value)
    {
        name(of);
        raw(value ? "true" : "false");
    }
    void null(std::string_view of)
    {
        name(of);
        raw("null");
    }

private:
    void part()
    {
        if (comma_) {
            out_.put(",");
        }
        comma_ = true;
    }
    void begin(std::string_view bracket)
    {
        part();
        out_.put(bracket);
        comma_ = false;
    }
    void end(std::string_view bracket)
    {
        out_.put(bracket);
        comma_ = true;
    }

    chain_writer& out_;
    bool comma_ = false; // before what comes next
};

} // namespace llm
