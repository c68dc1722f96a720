#include "start_warning.h"

namespace llm {

void warn_at_start(ngx_log_t* log, const std::string& text)
{
    ngx_log_error(NGX_LOG_WARN, log, 0, "%s", text.c_str());
    if (ngx_use_stderr && log->log_level < NGX_LOG_WARN) {
        ngx_log_stderr(0, "[warn] %s", text.c_str());
    }
}

} // namespace llm
