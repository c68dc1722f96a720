#pragma once

#include "ngx/ngx.hpp"

namespace llm {

// The content handler of `llm_status`: all zones as JSON.
ngx_int_t status_handler(ngx_http_request_t* r);

} // namespace llm
