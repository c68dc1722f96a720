// What clients send, in the words of each API.
#pragma once

#include "plan.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace soak {

struct request_text {
    std::string bytes;
    std::size_t head = 0; // bytes of the header
    std::size_t body = 0;
};

// `id`: what the access log and the upstream know it by.
request_text request_of(const plan& p, std::string_view id);

} // namespace soak
