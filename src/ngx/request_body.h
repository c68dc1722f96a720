// The request's body on its way in.
#pragma once

#include "request.h"

namespace llm {

// The model that the path or the query names, if one does, is the one that is asked for.
void name_model_by_target(ngx_http_request_t* r, request_ctx& ctx);
// Whether a key that may use certain models only has to name one in this request. Holds once the body is
// known.
bool needs_model(ngx_http_request_t* r, const request_ctx& ctx);
// Whether some of what it asks for stands where it is not looked for.
bool hides(ngx_http_request_t* r, const request_ctx& ctx, hidden_parts what);
// Whether it wants to speak WebSocket.
bool asks_websocket(ngx_http_request_t* r);
// Refuses a body that is compressed: what it asks for could not be read.
refusal check_coding(ngx_http_request_t* r);
// Looks at the body where nginx has all of it already, before it is read; nothing is waited for. False if it
// is still to be read, or somebody has read it.
bool scan_body_ahead(ngx_http_request_t* r, request_ctx& ctx);
// As if the body had not been looked at: what stands in a request is not told of one whose key is wrong.
void forget_body(ngx_http_request_t* r, request_ctx& ctx);
// Has the places of the body's members kept, of JSON without a fault whose rules came after it was looked at.
// False if it cannot be read again.
bool find_members(ngx_http_request_t* r, request_ctx& ctx);
// Its completion will have at most so many tokens, whatever it asks.
void note_bound(request_ctx& ctx, uint64_t tokens);
// The request goes on without a look at its body, which stays where it is.
void leave_body_unread(request_ctx& ctx);
// Reads the body if there is one. NGX_OK: there is nothing to wait for; else what the access handler has to
// return.
ngx_int_t read_body(ngx_http_request_t* r, request_ctx& ctx);

// Puts this module's filter of request bodies before those that are there.
void install_request_body_filter();

} // namespace llm
