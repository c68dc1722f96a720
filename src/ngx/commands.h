// The table of directives.
#pragma once

#include "ngx.hpp"

namespace llm {

extern ngx_command_t commands[];

} // namespace llm
