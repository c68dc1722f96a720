// Metrics as Prometheus reads them: the text format, version 0.0.4.
#pragma once

#include "chars.h"
#include "utf8.h"

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace llm {

struct metric_label {
    std::string_view name;
    std::string_view value; // any bytes
};

// `Out` has put(std::string_view) and put(uint64_t).
template <class Out>
class metric_text {
public:
    static constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

    explicit metric_text(Out& out) : out_(out) {}

    // Begins a gauge, all samples of which follow. `name` is kept; nothing in `help` is escaped.
    void begin_gauge(std::string_view name, std::string_view help)
    {
        name_ = name;
        put_all({"# HELP ", name, " ", help, "\n# TYPE ", name, " gauge\n"});
    }

    void sample(std::initializer_list<metric_label> labels, uint64_t value)
    {
        out_.put(name_);
        std::string_view before = "{";
        for (const metric_label& l : labels) {
            put_all({before, l.name, "=\""});
            put_value(l.value);
            out_.put("\"");
            before = ",";
        }
        out_.put(labels.size() ? "} " : " ");
        out_.put(value);
        out_.put("\n");
    }

private:
    void put_all(std::initializer_list<std::string_view> texts)
    {
        for (std::string_view text : texts) {
            out_.put(text);
        }
    }

    // One byte that is not UTF-8 would cost the reader all metrics. It becomes \xNN, so that different values
    // stay different.
    void put_value(std::string_view value)
    {
        size_t plain = 0; // bytes at the front that stay as they are
        while (plain < value.size()) {
            const size_t length = utf8_length(value.substr(plain));
            const char c = value[plain];
            if (length != 0 && c != '"' && c != '\\' && c != '\n') {
                plain += length;
                continue;
            }
            out_.put(value.substr(0, plain));
            put_escaped(c);
            value.remove_prefix(plain + 1);
            plain = 0;
        }
        out_.put(value);
    }

    void put_escaped(char c)
    {
        switch (c) {
        case '"':
            out_.put("\\\"");
            break;
        case '\\':
            out_.put("\\\\");
            break;
        case '\n':
            out_.put("\\n");
            break;
        default: {
            char digits[2];
            put_hex(digits, static_cast<uint8_t>(c));
            put_all({"\\\\x", {digits, sizeof digits}});
        }
        }
    }

    Out& out_;
    std::string_view name_;
};

} // namespace llm
