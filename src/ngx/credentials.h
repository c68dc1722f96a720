// The key that a request brings, in one of its headers.
#pragma once

#include "request.h"

namespace llm {

// Takes the key out of the request's headers.
bool take_credential(ngx_http_request_t* r, request_ctx& ctx);
// For a request without a key: takes the key whose name `identity` of this location gives, if it does. False
// if there is no memory, or the digest could not be made.
bool take_identity(ngx_http_request_t* r, request_ctx& ctx);
// Whether `identity` of this location gives a name for the request, of whatever key.
bool has_identity(ngx_http_request_t* r);
// Whether a request that came with no key has the same name by what is in force here.
bool is_same_here(ngx_http_request_t* r, const request_ctx& ctx);
// Whether keys are in force. Before a location is chosen, and for a request that is too broken to get one, it
// is not known which keys will be: then, whether there are any.
bool may_need_key(ngx_http_request_t* r);
// To be called once nginx has made its table of headers, where there are keys.
ngx_int_t install_credential_reader(ngx_conf_t* cf);
// The getter of the variables that show a header which may carry a key.
ngx_int_t key_header_variable(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t data);

} // namespace llm
