// What servers answer, each in the form of its API.
#pragma once

#include "plan.h"
#include "reply_script.h"

#include <string_view>

namespace soak {

// `body` is the request as the upstream has got it: it says what usage is asked for.
script reply_to(const plan& p, std::string_view body);

} // namespace soak
