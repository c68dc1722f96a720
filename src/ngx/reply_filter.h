// The reply's way out.
#pragma once

#include "ngx.hpp"

namespace llm {

// Puts this module's filters of replies before those that are there.
void install_reply_filters();

} // namespace llm
