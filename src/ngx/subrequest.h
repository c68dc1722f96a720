// Subrequests that lead into a location with keys.
#pragma once

#include "ngx.hpp"

namespace llm {

// A handler of the rewrite phase: nginx runs no access phase for subrequests, and `return` ends the rewrite
// phase. A subrequest needs a key if the request that it is of was not let in by the keys of its location:
// that of auth_request decides so. It takes no lease, hence no limit but `failures` counts it.
ngx_int_t subrequest_handler(ngx_http_request_t* r);

} // namespace llm
