// What llm_status has out of the book: totals, rates, refusals, models.
#pragma once

#include "json_writer.h"

#include "core/base/token_counts.h"
#include "ngx/zone.h"

namespace llm {

// Members of the object that is being written. False if there is no memory. Take the lock for a few records
// at a time.
bool put_book(json_writer& out, const zone_conf& zone, ngx_pool_t* pool);

// The member `rates`: what happened in each of the last seconds; those in which nothing did may be left out.
void put_rates(json_writer& out, const zone_conf& zone, ngx_pool_t* pool, uint64_t last);

void put_tokens(json_writer& out, const token_counts& tokens);

} // namespace llm
