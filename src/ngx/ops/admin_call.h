// What a request asks of llm_admin, by its method and what its path has behind the location's name.
#pragma once

#include "ngx/ngx.hpp"

#include <cstdint>
#include <string_view>

namespace llm {

struct admin_call {
    enum class of : uint8_t { nothing, reload, keys, key, block, unblock, reset, requests, stop };

    of what = of::nothing;   // there is no such path
    std::string_view name;   // of the key; in the request's pool
    uint64_t serial = 0;     // of the request; 0 is nobody's
    std::string_view allow;  // the methods that the path has
    bool is_allowed = false; // the request's is one of them
};

// False if there is no memory.
bool read_call(ngx_http_request_t* r, admin_call& call);

// Whether a browser sends this at the behest of another site's page: then the browser's owner has not asked
// for it, whatever rights that address or its saved password give.
bool is_cross_site(ngx_http_request_t* r);

} // namespace llm
