// Headers that tell a client of its limits, and headers of answers.
#pragma once

#include "request.h"

namespace llm {

// Adds a header to the reply. The value must live as long as the request. nullptr if there is no memory.
ngx_table_elt_t* add_header_out(ngx_http_request_t* r, std::string_view name, ngx_str_t value);

// x-ratelimit-* (for clients of Anthropic's API anthropic-ratelimit-*), as far as such limits are in force.
bool add_limit_headers(ngx_http_request_t* r, const limit_report& report);

// What tells a refused client when to come again.
bool add_retry_headers(ngx_http_request_t* r, const refusal_answer& answer, uint64_t wait_ms);

// WWW-Authenticate: Bearer.
bool ask_for_key(ngx_http_request_t* r);

// Upgrade, which tells what to speak instead of WebSocket.
bool ask_for_http(ngx_http_request_t* r);

// Takes the headers of a refusal off again.
void drop_refusal_headers(ngx_http_request_t* r);

} // namespace llm
