#pragma once

#include "ngx/ngx.hpp"

namespace llm {

// The content handler of `llm_metrics`: what Prometheus reads.
ngx_int_t metrics_handler(ngx_http_request_t* r);

} // namespace llm
