// What becomes of a request whose body is known.
#pragma once

#include "request.h"

namespace llm {

// Key, model and all limits in one step, and the edits of the body: a key that was checked before may have
// been revoked meanwhile, and one that was not is told first what is wrong with it. NGX_OK, or what refuse()
// returned.
ngx_int_t decide(ngx_http_request_t* r, request_ctx& ctx, const key_source& source);

// NGX_OK: this key file lets it in.
ngx_int_t let_in(request_ctx& ctx, const key_source& source);

} // namespace llm
