// What is changed in a request's body.
#pragma once

#include "request.h"

#include "core/request/policy_edit.h"

namespace llm {

// What stands in the way of edit_request() in a body without a fault, for the client to read; else empty.
std::string_view usage_fault(ngx_http_request_t* r, const request_ctx& ctx);
// Edits the body as the policy has planned, if there is one, and so that the upstream tells the usage of a
// stream whose client does not ask for it, if the location wants that. To be called once the request is let
// in. False if there is no memory, or the body cannot be written where it lies.
bool edit_request(ngx_http_request_t* r, request_ctx& ctx, policy_edit* policy);

// A body that was read as JSON in UTF-8 goes on as that, whatever its Content-Type says: a server that goes
// by another one, as of a form or a charset, would read other fields in it.
void send_as_json(ngx_http_request_t* r);

// Writes text over bytes of the body, which may be fewer: the rest of it is put behind them. Where they are
// more, white space follows it. All other bytes stay, and so do the offsets of those before the end of the
// range. The text has to live as long as the request. False if there is no memory, or the body cannot be
// written where it lies.
bool write_body(ngx_http_request_t* r, request_ctx& ctx, byte_range at, std::string_view text);
// Reads bytes of a body that nginx has read. False if that cannot be done.
bool read_kept_body(ngx_http_request_t* r, byte_range at, char* to);

} // namespace llm
