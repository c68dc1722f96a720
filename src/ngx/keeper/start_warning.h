// Warnings of what is not wrong enough to keep nginx from starting.
#pragma once

#include "ngx/ngx.hpp"

#include <string>

namespace llm {

// When a configuration comes into force, or is tested. Whoever starts nginx, or asks `nginx -t`, sees it also
// where the log that was configured takes errors only, which is what it does if no level is given.
void warn_at_start(ngx_log_t* log, const std::string& text);

} // namespace llm
