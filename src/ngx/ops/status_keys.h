// What llm_status has of keys: of all that are in force, those that are asked for.
#pragma once

#include "json_writer.h"
#include "status_query.h"

#include "ngx/conf.h"

namespace llm {

// The members `matched` and `keys` of the object that is being written. False if there is no memory. Takes
// the lock for a few keys at a time.
bool put_keys(json_writer& out, main_conf& conf, const zone_conf& zone, const status_query& query,
              ngx_pool_t* pool);

// Whether a key of this name is in a file, or was and has its counters still.
bool key_exists(const zone_conf& zone, std::string_view name);

// The same key as an object. With `unknown` there is none, and nothing was written.
enum class key_put : uint8_t { done, unknown, no_memory };
key_put put_one_key(json_writer& out, main_conf& conf, const zone_conf& zone, std::string_view name,
                    ngx_pool_t* pool);

} // namespace llm
