#include "limit_fields.h"

#include "rate_text.h"

namespace llm {

bool limit_field::read(std::string_view text, limits& to) const
{
    switch (is) {
    case kind::requests_rate:
    case kind::tokens_rate: {
        const auto value =
            parse_rate(text, is == kind::requests_rate ? rate_unit::requests : rate_unit::tokens);
        if (value) {
            to.*rate_at = *value;
        }
        return value.has_value();
    }
    case kind::count: {
        const auto value = parse_count(text);
        return value && read(static_cast<int64_t>(*value), to);
    }
    case kind::quota:
        break;
    }
    const auto value = parse_quota(text);
    if (value) {
        to.quota = value->amount;
        to.window = value->window;
    }
    return value.has_value();
}

bool limit_field::read(int64_t number, limits& to) const
{
    if (is == kind::quota && number >= 1) {
        to.quota = static_cast<uint64_t>(number);
        to.window = quota_window::total;
        return true;
    }
    if (is != kind::count || number < least) {
        return false;
    }
    to.*count_at = number;
    return true;
}

} // namespace llm
