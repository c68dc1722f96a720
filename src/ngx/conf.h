// The directives and what they leave behind.
#pragma once

#include "free_list.h"
#include "ngx.hpp"
#include "policy_conf.h"
#include "zone.h"

#include "core/reply/usage.h"
#include "core/request/usage_inject.h"

namespace llm {

// The llm_limit, or the llm_request, of one level of the configuration: what location_conf has of that level,
// and of those that inherit it.
struct limit_level {
    const ngx_array_t* rules;    // of llm_limit; else nullptr
    const policy_level* request; // of llm_request
    bool in_force;               // some level with keys has them
    bool is_read_for;            // and reads bodies
    // Where the first of them stands, for messages.
    ngx_str_t conf_file;
    ngx_uint_t conf_line;
};

struct main_conf {
    ngx_array_t zones;      // zone_conf*
    ngx_array_t sources;    // key_source*
    ngx_array_t levels;     // limit_level
    ngx_array_t models;     // model_level*
    ngx_array_t admins;     // zone_ref*, of llm_admin
    ngx_event_t sweep;      // timer, see worker.cpp
    ngx_path_t keeper_path; // for which nginx runs the keeper, see keeper.cpp
    // Requests of this worker: running.cpp.
    ngx_queue_t running;  // that hold a lease,
    ngx_queue_t stopping; // or do so, but are to end
    uint32_t n_running;   // both
    uint32_t to_look_at;  // of the first, in this round
    ngx_event_t look;     // timer
    ngx_event_t keeper;   // timer of the keeper's turns, with `master_process off`
    free_list requests;   // of request_ctx
    uint32_t begun;       // requests under keys, in this worker
    bool hashes_prompts;  // the configuration names $llm_prompt_hash
    uint32_t told_early;  // a bit for each variable that was asked for too early, and that was logged
};

// How errors are answered: the value of llm_errors.
struct errors_as {
    enum : uint8_t {
        unset,
        automatic, // as the path's API writes them
        nginx,     // left to error_page
        shape,     // as the one of this name does
    } is = unset;
    std::string_view name = {}; // of api_row
};

struct location_conf {
    key_source* keys;                   // nullptr: off
    ngx_http_complex_value_t* identity; // of `keys`: whose key a request without one has; nullptr: nobody's
    ngx_array_t* rules;                 // limit_rule, of llm_limit; nullptr: none
    policy_level* request;              // of llm_request; nullptr: no rules
    usage_weights* weights;             // nullptr: each token counts as one
    struct model_level* models;         // of llm_model; nullptr: no table
    ngx_uint_t inject;                  // usage_inject
    ngx_flag_t websocket;               // WebSockets are let through
    ngx_flag_t reads_body;              // off: what a request says is not looked at
    ngx_uint_t quota_status;            // of the refusal where a quota is spent
    errors_as errors;
    bool warned_of_unread;        // by this process: that replies here are charged by an estimate
    bool tells_usage;             // llm_usage answers here
    bool tells_models;            // llm_models does
    const zone_ref* admin;        // llm_admin answers here, of this zone; nullptr: it does not
    const ngx_command_t* content; // the directive that answers here; nullptr: none of this module
    ngx_http_handler_pt handler;  // its handler
};

// For a directive without arguments that answers all requests of its location. Two of them in one are
// refused.
char* set_content(ngx_conf_t* cf, const ngx_command_t* directive, location_conf& conf,
                  ngx_http_handler_pt handler);

void* create_main_conf(ngx_conf_t* cf);
void* create_location_conf(ngx_conf_t* cf);
char* merge_location_conf(ngx_conf_t* cf, void* parent, void* child);

inline main_conf* main_conf_of(ngx_http_request_t* r)
{
    return static_cast<main_conf*>(ngx_http_get_module_main_conf(r, ngx_http_llm_module));
}

inline location_conf* location_conf_of(ngx_http_request_t* r)
{
    return static_cast<location_conf*>(ngx_http_get_module_loc_conf(r, ngx_http_llm_module));
}

// nullptr where the configuration has no http block.
inline main_conf* main_conf_of(ngx_cycle_t* cycle)
{
    return static_cast<main_conf*>(ngx_http_cycle_get_module_main_conf(cycle, ngx_http_llm_module));
}

inline std::span<const limit_rule> rules_of(const location_conf& conf)
{
    if (!conf.rules) {
        return {};
    }
    return {static_cast<const limit_rule*>(conf.rules->elts), conf.rules->nelts};
}

inline std::span<limit_level> levels_of(main_conf& conf)
{
    return {static_cast<limit_level*>(conf.levels.elts), conf.levels.nelts};
}

inline std::span<zone_conf*> zones_of(main_conf& conf)
{
    return {static_cast<zone_conf**>(conf.zones.elts), conf.zones.nelts};
}

} // namespace llm
