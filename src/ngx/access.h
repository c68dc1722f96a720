// The access phase: key, body, decision, lease.
#pragma once

#include "request.h"

namespace llm {

ngx_int_t access_handler(ngx_http_request_t* r);

// What the zone is asked for this request, under the limits of its present location.
admission_request describe(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source,
                           const moment& now);

} // namespace llm
