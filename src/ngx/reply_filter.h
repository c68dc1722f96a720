// The reply's way out.
#pragma once

#include "ngx.hpp"

namespace llm {

// Puts this module's filters of replies before those that are there.
void install_reply_filters();
// Passes on what this module says itself, behind its own filter.
ngx_int_t pass_on(ngx_http_request_t* r, ngx_chain_t* chain);

} // namespace llm
