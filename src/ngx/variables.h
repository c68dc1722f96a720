#pragma once

#include "ngx.hpp"

namespace llm {

// Makes the $llm_* variables known. To be called before the configuration is read.
ngx_int_t add_variables(ngx_conf_t* cf);
// Whether the configuration names $llm_prompt_hash anywhere: else no prompt is hashed. To be called when all
// of it was read.
bool names_prompt_hash(ngx_conf_t* cf);

} // namespace llm
