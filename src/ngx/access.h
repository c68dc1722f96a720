// The access phase: key, body, decision, lease.
#pragma once

#include "request.h"

#include <optional>

namespace llm {

ngx_int_t access_handler(ngx_http_request_t* r);
// The same where `identity` says whose key a request has: behind all of the access phase, whose other modules
// check that first.
ngx_int_t precontent_handler(ngx_http_request_t* r);

// nginx refuses a body by its Content-Length before it comes to the access phase. Where keys are in force,
// such a request is counted like one whose body turns out to be too large. To be called with the reply's
// header.
void note_too_large(ngx_http_request_t* r);

// What the zone is asked for this request, under the limits of its present location.
admission_request describe(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source,
                           const moment& now);

// Whether the zone knows the request's key and lets it in here; a wrong one is counted where `failures`
// limits that. Keeps the key's names. Nothing if there is no memory.
std::optional<admission_result> look_at_key(ngx_http_request_t* r, request_ctx& ctx,
                                            const key_source& source);
// Why a request is refused of which the zone said this; not to be asked of one that is let in.
refusal refusal_of(const admission_result& result);

} // namespace llm
