// Metrics as Prometheus reads them: its text format, version 0.0.4, or OpenMetrics 1.0.
#pragma once

#include "chars.h"
#include "utf8.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace llm {

struct metric_label {
    std::string_view name;
    std::string_view value; // any bytes
};

enum class metric_format : uint8_t { text, open_metrics };

// `Out` has put(std::string_view) and put(uint64_t).
template <class Out>
class metric_text {
public:
    explicit metric_text(Out& out, metric_format format = metric_format::text) : out_(out), format_(format) {}

    std::string_view content_type() const
    {
        return is_open() ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                         : "text/plain; version=0.0.4; charset=utf-8";
    }

    // Every series has this label before its own, from now on.
    void set_common(metric_label label) { common_ = label; }

    // These begin a metric, all samples of which follow. `name` is kept, and is without the endings of its
    // samples; nothing in `help` is escaped. A unit is the end of the name.
    void begin_gauge(std::string_view name, std::string_view help, std::string_view unit = {})
    {
        begin(name, "gauge", "", help, unit);
    }
    void begin_counter(std::string_view name, std::string_view help, std::string_view unit = {})
    {
        begin(name, "counter", is_open() ? "" : "_total", help, unit);
    }
    void begin_histogram(std::string_view name, std::string_view help, std::string_view unit)
    {
        begin(name, "histogram", "", help, unit);
    }

    // Of a gauge.
    void sample(std::initializer_list<metric_label> labels, uint64_t value)
    {
        put_series("", labels);
        out_.put(value);
        out_.put("\n");
    }
    // Of a counter that began at `made_ms` (since 1970; 0 = not known).
    void counter(std::initializer_list<metric_label> labels, uint64_t value, int64_t made_ms)
    {
        put_series("_total", labels);
        out_.put(value);
        out_.put("\n");
        put_created(labels, made_ms);
    }
    // Values in a unit of which there are `units` in a second. The last count is of what is above all bounds.
    void histogram(std::initializer_list<metric_label> labels, uint32_t units,
                   std::span<const uint32_t> bounds, std::span<const uint64_t> counts, uint64_t sum,
                   int64_t made_ms)
    {
        uint64_t below = 0; // or at, the bound
        for (size_t i = 0; i < counts.size(); i++) {
            below += counts[i];
            out_.put(name_);
            out_.put("_bucket");
            put_labels(labels, true);
            out_.put("le=\"");
            if (i < bounds.size()) {
                put_decimal(bounds[i], units, is_open());
            } else {
                out_.put("+Inf");
            }
            out_.put("\"} ");
            out_.put(below);
            out_.put("\n");
        }
        put_series("_sum", labels);
        put_decimal(sum, units, false);
        out_.put("\n");
        put_series("_count", labels);
        out_.put(below);
        out_.put("\n");
        put_created(labels, made_ms);
    }

    // Nothing follows.
    void end()
    {
        if (is_open()) {
            out_.put("# EOF\n");
        }
    }

private:
    bool is_open() const { return format_ == metric_format::open_metrics; }

    void begin(std::string_view name, std::string_view type, std::string_view ending, std::string_view help,
               std::string_view unit)
    {
        name_ = name;
        put_all({"# HELP ", name, ending, " ", help, "\n# TYPE ", name, ending, " ", type, "\n"});
        if (is_open() && !unit.empty()) {
            put_all({"# UNIT ", name, " ", unit, "\n"});
        }
    }

    void put_series(std::string_view ending, std::initializer_list<metric_label> labels)
    {
        put_all({name_, ending});
        put_labels(labels, false);
    }

    // `open`: another label follows.
    void put_labels(std::initializer_list<metric_label> labels, bool open)
    {
        std::string_view before = "{";
        const auto put_one = [&](const metric_label& l) {
            put_all({before, l.name, "=\""});
            put_value(l.value);
            out_.put("\"");
            before = ",";
        };
        if (!common_.name.empty()) {
            put_one(common_);
        }
        for (const metric_label& l : labels) {
            put_one(l);
        }
        if (open) {
            out_.put(before);
        } else {
            out_.put(before == "," ? "} " : " ");
        }
    }

    void put_created(std::initializer_list<metric_label> labels, int64_t made_ms)
    {
        if (!is_open() || made_ms <= 0) {
            return;
        }
        put_series("_created", labels);
        put_decimal(static_cast<uint64_t>(made_ms), 1000, false);
        out_.put("\n");
    }

    // Without zeros at the end, but `point` for a whole number as well. `units` is a power of ten.
    void put_decimal(uint64_t value, uint32_t units, bool point)
    {
        out_.put(value / units);
        uint64_t rest = value % units;
        if (rest == 0) {
            out_.put(point ? ".0" : "");
            return;
        }
        char digits[12] = {'.'};
        size_t n = 1;
        for (uint32_t place = units / 10; rest != 0; place /= 10) {
            digits[n++] = static_cast<char>('0' + rest / place);
            rest %= place;
        }
        out_.put(std::string_view(digits, n));
    }

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
        if (is_plain(value)) [[likely]] {
            out_.put(value);
            return;
        }
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

    // Whether all of it is ASCII that stays as it is. It says no for a few more, which cost time only.
    static bool is_plain(std::string_view value)
    {
        unsigned other = 0;
        for (const char c : value) {
            const auto byte = static_cast<uint8_t>(c);
            other |= (byte < 0x20) | (byte > 0x7e) | (byte == '"') | (byte == '\\');
        }
        return other == 0;
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
    metric_format format_;
    metric_label common_{};
    std::string_view name_;
};

} // namespace llm
