// Which row of the table of models holds for a request.
#pragma once

#include "request.h"

namespace llm {

// Finds the row of this location's table, once it is known what the request asks, unless it was found
// already. refusal::none: there is one, or there is no table; else why the request is to be refused.
refusal choose_model(ngx_http_request_t* r, request_ctx& ctx);

// As if it had not been called.
void forget_model(request_ctx& ctx);

// What a token of each class costs in this location, and by its row.
usage_weights weights_of(ngx_http_request_t* r, const request_ctx& ctx);

} // namespace llm
