#include "rate_text.h"

#include "core/base/chars.h"

#include <limits>

namespace llm {

std::optional<uint64_t> parse_count(std::string_view text)
{
    uint64_t unit = 1;
    if (!text.empty()) {
        const char last = static_cast<char>(text.back() | 0x20);
        unit = last == 'k' ? 1000 : last == 'm' ? 1000000 : 1;
    }
    if (unit != 1) {
        text.remove_suffix(1);
    }
    if (text.empty()) {
        return std::nullopt;
    }
    constexpr uint64_t max = std::numeric_limits<int64_t>::max();
    uint64_t value = 0;
    for (const char c : text) {
        if (!is_digit(c)) {
            return std::nullopt;
        }
        const auto digit = static_cast<uint64_t>(c - '0');
        if (value > (max - digit) / 10) {
            return std::nullopt;
        }
        value = value * 10 + digit;
    }
    if (value > max / unit) {
        return std::nullopt;
    }
    return value * unit;
}

std::optional<rate> parse_rate(std::string_view text, rate_unit kind)
{
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos || text.size() - slash != 2) {
        return std::nullopt;
    }
    uint64_t period_ms = 0;
    switch (text[slash + 1]) {
    case 's':
        period_ms = 1000;
        break;
    case 'm':
        period_ms = 60 * 1000;
        break;
    case 'h':
        period_ms = 3600 * 1000;
        break;
    case 'd':
        period_ms = 24 * 3600 * 1000;
        break;
    default:
        return std::nullopt;
    }
    std::string_view amount = text.substr(0, slash);
    if (kind == rate_unit::requests) {
        if (!amount.ends_with('r')) {
            return std::nullopt;
        }
        amount.remove_suffix(1);
    }
    const std::optional<uint64_t> count = parse_count(amount);
    if (!count || *count == 0) {
        return std::nullopt;
    }
    return rate(*count, period_ms);
}

std::optional<quota_text> parse_quota(std::string_view text)
{
    static constexpr struct {
        std::string_view name;
        quota_window window;
    } windows[] = {{"h", quota_window::hour},
                   {"d", quota_window::day},
                   {"w", quota_window::week},
                   {"mo", quota_window::month},
                   {"total", quota_window::total}};
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
        return std::nullopt;
    }
    const std::optional<uint64_t> count = parse_count(text.substr(0, slash));
    if (!count || *count == 0) {
        return std::nullopt;
    }
    for (const auto& each : windows) {
        if (text.substr(slash + 1) == each.name) {
            return quota_text{*count, each.window};
        }
    }
    return std::nullopt;
}

} // namespace llm
