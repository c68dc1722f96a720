// llm_errors and llm_error.
#pragma once

#include "ngx.hpp"

namespace llm {

char* set_errors(ngx_conf_t* cf, ngx_command_t* command, void* conf);
char* set_error_page(ngx_conf_t* cf, ngx_command_t* command, void* conf);

} // namespace llm
