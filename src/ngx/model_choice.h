// Which row of the table of models holds for a request.
#pragma once

#include "request.h"

namespace llm {

namespace detail {
refusal choose_model(ngx_http_request_t* r, request_ctx& ctx, const model_level* level);
} // namespace detail

// Finds the row of this location's table, once it is known what the request asks, unless it was found
// already. refusal::none: there is one, or there is no table; else why the request is to be refused.
inline refusal choose_model(ngx_http_request_t* r, request_ctx& ctx)
{
    const model_level* level = location_conf_of(r)->models;
    return level == ctx.routed.level ? refusal::none : detail::choose_model(r, ctx, level);
}

// As if it had not been called.
inline void forget_model(request_ctx& ctx)
{
    ctx.routed = {};
}

// What a token of each class costs in this location, and by its row.
inline usage_weights weights_of(ngx_http_request_t* r, const request_ctx& ctx)
{
    const usage_weights* here = location_conf_of(r)->weights;
    const usage_weights weights = here ? *here : usage_weights{};
    return ctx.routed.row ? ctx.routed.row->weights(weights) : weights;
}

} // namespace llm
