// The directives llm_limit and llm_usage_weights.
#pragma once

#include "ngx.hpp"

namespace llm {

// Handlers of ngx_command_t; the configuration is a location_conf.
char* set_limit(ngx_conf_t* cf, ngx_command_t* command, void* conf);
char* set_usage_weights(ngx_conf_t* cf, ngx_command_t* command, void* conf);

// To be called where the first rule of a level stands, for the check below: with what is kept of it, and
// nullptr.
bool add_level(ngx_conf_t* cf, const ngx_array_t* rules, const struct policy_level* request);
// To be called when all of the configuration is read: tells of levels that hold nowhere. NGX_ERROR for one
// that cannot.
ngx_int_t check_levels(ngx_conf_t* cf);

} // namespace llm
