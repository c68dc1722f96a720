// The access phase: key, body, decision, lease.
#pragma once

#include "request.h"

namespace llm {

ngx_int_t access_handler(ngx_http_request_t* r);
// The same where `identity` says whose key a request has: behind all of the access phase, whose other modules
// check that first.
ngx_int_t precontent_handler(ngx_http_request_t* r);

// nginx refuses a body by its Content-Length before it comes to the access phase. Where keys are in force,
// such a request is counted like one whose body turns out to be too large. To be called with the reply's
// header.
void note_too_large(ngx_http_request_t* r);

} // namespace llm
