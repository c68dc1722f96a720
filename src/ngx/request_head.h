// What is wrong with the head of a request.
#pragma once

#include "request.h"

namespace llm {

// Whether a request whose key is good has a path and a coding that can be read in one way, and is no
// WebSocket where none are let through.
refusal check_head(ngx_http_request_t* r, const request_ctx& ctx);

} // namespace llm
