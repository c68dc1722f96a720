#pragma once

#include "ngx/ngx.hpp"

namespace llm {

// The content handler of `llm_admin`: what operators ask for, and do, while nginx runs.
ngx_int_t admin_handler(ngx_http_request_t* r);

} // namespace llm
