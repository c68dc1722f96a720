// Streams that outgrow what was reserved for them.
#pragma once

#include "request.h"

namespace llm {

// Whether the reply may be ended before its end: what is buffered is already promised to the client in
// another form, and a length cannot be taken back.
bool can_be_cut(ngx_http_request_t* r);

// The lease was taken with `granted` weighted tokens; with limits of tokens the reply is watched, and with
// `hard` ones it may be ended.
void watch(request_ctx& ctx, bool has_tokens, uint64_t granted, bool hard);
// A stream has used `used` weighted tokens: takes more for it, in steps, and marks it if a hard limit is to
// end it.
void extend_lease(ngx_http_request_t* r, request_ctx& ctx, uint64_t used);
// Why a request was ended, or is to be, that was let in.
refusal refusal_of_cut(const request_ctx& ctx);
// Ends a request whose lease says that it is to end, if that can be done now: before its reply has begun by
// an answer, a stream by an event, behind the one that it is in; what has no room for either is cut off, as
// is a stream if it is to end in any case. May free the request. Not to be called from its own handlers and
// filters.
void end_stopped(ngx_http_request_t* r, request_ctx& ctx, bool in_any_case);

// The event that ends a stream. nullptr if there is no memory.
ngx_chain_t* cut_stream(ngx_http_request_t* r, request_ctx& ctx);
// What of a chain still goes out after that: its end only. The rest counts as sent.
ngx_chain_t* ends_of(ngx_http_request_t* r, ngx_chain_t* in);

} // namespace llm
