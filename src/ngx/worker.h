#pragma once

#include "ngx.hpp"

namespace llm {

// ngx_module_t's hooks.
ngx_int_t init_module(ngx_cycle_t* cycle);
ngx_int_t init_process(ngx_cycle_t* cycle);
void exit_process(ngx_cycle_t* cycle);
void exit_master(ngx_cycle_t* cycle);

} // namespace llm
