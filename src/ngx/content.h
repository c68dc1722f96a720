// What the content handlers for operators have in common.
#pragma once

#include "chain_writer.h"

namespace llm {

// To be called first: NGX_OK, or what the handler has to return. Only GET and HEAD go on; a body is thrown
// away.
ngx_int_t begin_content(ngx_http_request_t* r);

// Whether the client would rather have HTML than JSON, by its Accept.
bool prefers_html(ngx_http_request_t* r);

// Answers with the text that was written. `type` is all of the Content-Type, with its charset if it has one.
ngx_int_t send_content(ngx_http_request_t* r, chain_writer& text, std::string_view type,
                       ngx_uint_t status = NGX_HTTP_OK);

// The same in two steps, where the text is not whole yet. The length is not known if it is -1.
ngx_int_t send_content_header(ngx_http_request_t* r, std::string_view type, off_t length,
                              ngx_uint_t status = NGX_HTTP_OK);
// The rest of the text. There may be none.
ngx_int_t send_last_content(ngx_http_request_t* r, chain_writer& text);

} // namespace llm
