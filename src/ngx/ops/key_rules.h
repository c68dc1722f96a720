// The limits that llm_limit has for each key, wherever.
#pragma once

#include "core/limit/limit_rules.h"
#include "ngx/conf.h"

#include <optional>
#include <span>

namespace llm {

// Those of all locations in which keys are in force, copied into the pool. Nothing if there is no memory.
std::optional<std::span<const limit_rule>> key_rules_of(main_conf& conf, ngx_pool_t* pool);

} // namespace llm
