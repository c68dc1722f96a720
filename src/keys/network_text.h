// Address ranges as text.
#pragma once

#include "core/shared/key_record.h"

#include <optional>
#include <string>
#include <string_view>

namespace llm {

// An address or CIDR range of IPv4 or IPv6 ("10.0.0.0/8", "::1"), as written: bits beyond the prefix may be
// set. A range of IPv4-mapped IPv6 addresses (::ffff:10.0.0.0/104) becomes the range of IPv4 addresses that
// it is.
std::optional<network> parse_network(std::string_view text);

// Clears the bits beyond the prefix. True if there were any.
bool clear_host_bits(network& range);

// "10.0.0.0/8"; without a prefix if the range is one address.
std::string to_text(const network& range);

} // namespace llm
