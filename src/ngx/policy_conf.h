// llm_request.
#pragma once

#include "ngx.hpp"

#include "core/request/request_policy.h"
#include "keys/request_rules.h"

namespace llm {

// The rules of one level of the configuration, and what is made of them. Lives as long as the cycle.
struct policy_level {
    request_rules rules;
    request_policy policy;
    uint64_t number; // from 1 up, which no other level has or had in this process, nor in those before it
};

// The number of the list of fields that are allowed by the configuration: key files have those before it.
inline constexpr uint8_t list_of_location = 2;

char* set_request(ngx_conf_t* cf, ngx_command_t* directive, void* conf);

} // namespace llm
