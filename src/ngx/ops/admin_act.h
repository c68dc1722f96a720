// What llm_admin does. Each act is in error.log, with who did it.
#pragma once

#include "ngx/zone.h"

#include <cstdint>
#include <string_view>

namespace llm {

// Of a key that exists. Its requests in flight are asked to end. False if there is no room for its record.
bool block_key(ngx_http_request_t* r, const zone_conf& zone, std::string_view name);
void unblock_key(ngx_http_request_t* r, const zone_conf& zone, std::string_view name);
void reset_key(ngx_http_request_t* r, const zone_conf& zone, std::string_view name,
               shared_state::forget what);

// Asks the request of this serial to end. False if there is none.
bool stop_request(ngx_http_request_t* r, const zone_conf& zone, uint64_t serial);

// To be called when the key files are to be read.
void log_reload(ngx_http_request_t* r);

} // namespace llm
