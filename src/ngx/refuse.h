// Answers that the gateway gives itself.
#pragma once

#include "request.h"

namespace llm {

// Answers with a refusal. Returns what the access handler has to return.
// `wait_ms` is how long a limit lasts, 0 if that is not known.
[[gnu::cold]] ngx_int_t refuse(ngx_http_request_t* r, request_ctx& ctx, refusal why,
                               std::string_view detail = {}, uint64_t wait_ms = 0);

// Answers a subrequest with a status that auth_request knows: 401, or 403 for all else. Why is told where the
// main request is answered in the API's shape, as by llm_error.
[[gnu::cold]] ngx_int_t refuse_subrequest(ngx_http_request_t* r, request_ctx& ctx, refusal why);
// It may have been refused in the location that it was redirected from.
inline void forget_refusal(request_ctx& ctx)
{
    ctx.refused = refusal::none;
}

} // namespace llm
