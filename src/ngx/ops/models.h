#pragma once

#include "ngx/ngx.hpp"

namespace llm {

// The content handler of `llm_models`: the models of the table that the caller's key may use.
ngx_int_t models_handler(ngx_http_request_t* r);

} // namespace llm
