// What a request has used: as the upstream said it, and where it did not, an estimate.
#pragma once

#include "request.h"

namespace llm {

// What the reply that is being read has used so far, as the upstream tells it, and where it does not, as it
// is reckoned. `source` says which, for a reply that ends here.
struct usage_so_far {
    token_counts tokens;
    usage_source source;
};
usage_so_far reckon(const request_ctx& ctx);
// Whether a reply to this method says what is to be charged, in the form that it has.
bool is_charged(ngx_http_request_t* r, const request_ctx& ctx);
// Of a status of the upstream.
bool is_success(ngx_uint_t status);
// By what this request's tokens are reckoned.
token_ratios ratios_of(const request_ctx& ctx);

// Keeps that with the request, or forgets it where another reply begins.
void take_progress(request_ctx& ctx);
void forget_progress(request_ctx& ctx);

// What the request has used, when it is over: sets `used` and `source`.
void account(ngx_http_request_t* r, request_ctx& ctx);
// Takes it as a lesson for later estimates, if the upstream has told all of it. To be called once it is known
// how the request ended.
void learn_from(const request_ctx& ctx);

} // namespace llm
