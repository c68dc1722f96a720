#include "network_text.h"

#include "core/base/chars.h"

#include <algorithm>
#include <arpa/inet.h>

namespace llm {

namespace {

constexpr uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Decimal digits without leading zeros, up to `max`.
std::optional<uint8_t> parse_prefix(std::string_view text, unsigned max)
{
    if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) {
        return std::nullopt;
    }
    unsigned value = 0;
    for (const char c : text) {
        if (!is_digit(c)) {
            return std::nullopt;
        }
        value = value * 10 + static_cast<unsigned>(c - '0');
    }
    return value <= max ? std::optional(static_cast<uint8_t>(value)) : std::nullopt;
}

} // namespace

std::optional<network> parse_network(std::string_view text)
{
    const size_t slash = text.find('/');
    const std::string_view address = text.substr(0, slash);
    char buffer[INET6_ADDRSTRLEN];
    if (address.size() >= sizeof buffer || address.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    *std::copy(address.begin(), address.end(), buffer) = '\0';

    network result;
    result.v6 = address.find(':') != std::string_view::npos;
    if (inet_pton(result.v6 ? AF_INET6 : AF_INET, buffer, result.address.data()) != 1) {
        return std::nullopt;
    }
    result.prefix = result.v6 ? 128 : 32;
    if (slash != std::string_view::npos) {
        const std::optional<uint8_t> prefix = parse_prefix(text.substr(slash + 1), result.prefix);
        if (!prefix) {
            return std::nullopt;
        }
        result.prefix = *prefix;
    }
    if (result.v6 && result.prefix >= 96
        && std::equal(std::begin(mapped_prefix), std::end(mapped_prefix), result.address.begin())) {
        network v4;
        std::copy(result.address.begin() + 12, result.address.end(), v4.address.begin());
        v4.prefix = static_cast<uint8_t>(result.prefix - 96);
        return v4;
    }
    return result;
}

bool clear_host_bits(network& range)
{
    bool found = false;
    for (size_t i = 0; i < (range.v6 ? 16u : 4u); i++) {
        const size_t bit = i * 8;
        unsigned mask = 0xff;
        if (bit >= range.prefix) {
            mask = 0;
        } else if (range.prefix - bit < 8) {
            mask = 0xff00u >> (range.prefix - bit) & 0xff;
        }
        const auto kept = static_cast<uint8_t>(range.address[i] & mask);
        found |= kept != range.address[i];
        range.address[i] = kept;
    }
    return found;
}

std::string to_text(const network& range)
{
    char buffer[INET6_ADDRSTRLEN];
    if (!inet_ntop(range.v6 ? AF_INET6 : AF_INET, range.address.data(), buffer, sizeof buffer)) {
        return {};
    }
    std::string text = buffer;
    if (range.prefix != (range.v6 ? 128 : 32)) {
        text += '/';
        text += std::to_string(range.prefix);
    }
    return text;
}

} // namespace llm
