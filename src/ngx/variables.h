#pragma once

#include "ngx.hpp"

namespace llm {

// Makes the $llm_* variables known. To be called before the configuration is read.
ngx_int_t add_variables(ngx_conf_t* cf);

} // namespace llm
