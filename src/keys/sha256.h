// SHA-256 of API keys, and digests as text.
#pragma once

#include "core/base/digest.h"

#include <string>
#include <string_view>

namespace llm {

// The SHA-256 of `text`. Looks nothing up and allocates nothing, so it may run on the request path. False if
// OpenSSL fails: `out` is then all zero.
bool sha256(std::string_view text, digest& out);

// 64 hex digits of either case. On failure (false) `out` is unchanged.
bool parse_hex(std::string_view text, digest& out);

// 64 hex digits of lower case.
std::string to_hex(const digest& value);

} // namespace llm
