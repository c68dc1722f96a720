#pragma once

#include "ngx.hpp"

namespace llm {

// Makes the $llm_* variables known. To be called before the configuration is read.
ngx_int_t add_variables(ngx_conf_t* cf);
// Finds the variables that credentials.cpp has to make forget. To be called when the configuration is read.
ngx_int_t index_key_variables(ngx_conf_t* cf);

} // namespace llm
