// llm_errors and llm_error.
#pragma once

#include "ngx.hpp"

namespace llm {

char* set_errors(ngx_conf_t* cf, ngx_command_t* command, void* conf);
char* set_error_page(ngx_conf_t* cf, ngx_command_t* command, void* conf);

// Whether llm_error is what answers this request: not by what stands in the configuration, which says nothing
// of what is nested, but by the handler that nginx has chosen. To be asked in the access phase.
bool is_error_page(ngx_http_request_t* r);
// Lets it answer. Returns what the access handler has to return.
ngx_int_t answer_error(ngx_http_request_t* r);

} // namespace llm
