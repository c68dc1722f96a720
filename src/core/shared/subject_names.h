// The names of subjects that are made of what a request brings.
#pragma once

#include "subject_table.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// The name of an address's subject: an IPv4 address, also if it is mapped into IPv6, or the /64 of an IPv6
// address. A host has a whole /64 to choose from.
std::string_view address_name(std::span<const uint8_t> address);

// The name of a model's subject: what is too long ends in its hash. `longer` is where that is put.
std::string_view model_name(const subject_table& subjects, std::string_view model, char (&longer)[max_name]);

} // namespace llm
