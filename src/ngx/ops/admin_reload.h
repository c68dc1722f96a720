// llm_admin's reload-keys: the keeper reads the key files, and this waits for what came of it.
#pragma once

#include "ngx/zone.h"

namespace llm {

// Returns what the handler has to return; the answer comes later.
ngx_int_t reload_keys(ngx_http_request_t* r, const zone_conf& zone);

} // namespace llm
