// The directives that say where keys are: llm_zone and llm_api_keys.
#pragma once

#include "ngx.hpp"

namespace llm {

// Their setters, as nginx calls them.
char* set_zone(ngx_conf_t* cf, ngx_command_t* command, void* conf);
char* set_api_keys(ngx_conf_t* cf, ngx_command_t* command, void* conf);
// To be called when all of the configuration is read: finds the zone of each key file.
ngx_int_t resolve_zones(ngx_conf_t* cf);

} // namespace llm
