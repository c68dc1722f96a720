// What a request asks llm_status for, in its arguments.
#pragma once

#include "ngx/ngx.hpp"

#include <string_view>

namespace llm {

struct status_query {
    enum class parts : uint8_t { all, live, keys };
    enum class order : uint8_t { tokens, requests, name };
    static constexpr uint64_t usual_limit = 100;
    static constexpr uint64_t max_limit = 1000;

    parts view = parts::all;
    order sort = order::tokens;
    std::string_view filter; // of view=keys: what a key's name or user contains, in any case; in the pool
    uint64_t limit = usual_limit;
    uint64_t offset = 0;
};

// The value of an argument of the request as it stands there; empty if there is none.
std::string_view argument_of(ngx_http_request_t* r, std::string_view name);

// Values that are not known are as if they were not there. False if there is no memory.
bool read_query(ngx_http_request_t* r, status_query& query);

} // namespace llm
