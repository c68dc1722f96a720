#pragma once

#include "ngx/ngx.hpp"

namespace llm {

// The content handler of `llm_usage`: what the caller's key may do and has used.
ngx_int_t usage_handler(ngx_http_request_t* r);

} // namespace llm
