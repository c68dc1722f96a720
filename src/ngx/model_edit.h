// The name by which the upstream knows a model, where that is not the client's.
#pragma once

#include "request.h"

namespace llm {

namespace detail {
bool send_model(ngx_http_request_t* r, request_ctx& ctx);
} // namespace detail

// Writes it where the request names its model: into the body, the path and the query. To be called after
// edit_request(), and again in each location that an internal redirect leads to: a body that has another
// name by then gets this one. False if there is no memory, or the body cannot be written where it lies.
inline bool send_model(ngx_http_request_t* r, request_ctx& ctx)
{
    return (!ctx.routed.renames && !ctx.sent.is_edited) || detail::send_model(r, ctx);
}

// What the upstream is told, or will be told; without data where that is nothing.
ngx_str_t upstream_model(const request_ctx& ctx);

} // namespace llm
