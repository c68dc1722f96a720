// Errors of llm_admin.
#pragma once

#include "ngx/ngx.hpp"

#include <string_view>

namespace llm {

// Returns what the handler has to return.
ngx_int_t send_admin_error(ngx_http_request_t* r, ngx_uint_t status, std::string_view code,
                           std::string_view message);

} // namespace llm
