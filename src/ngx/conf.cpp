#include "conf.h"

#include "conf_args.h"
#include "model_conf.h"

namespace llm {

namespace {

ngx_http_core_loc_conf_t* core_conf_of(ngx_conf_t* cf)
{
    return static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
}

// One of them would never answer, and nginx would not say so.
char* refuse_second_answer(ngx_conf_t* cf, const location_conf& conf)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" cannot stand beside another directive that answers, such as \"proxy_pass\", "
                       "in one location",
                       &conf.content->name);
    return conf_error();
}

// `limit_except` makes a location of its own of the methods that it is for, which answers as the one around
// it.
void inherit_content(ngx_conf_t* cf, const location_conf& from, location_conf& to)
{
    ngx_http_core_loc_conf_t* core = core_conf_of(cf);
    if (from.content && core->lmt_excpt && !core->handler) {
        core->handler = from.handler;
        to.content = from.content;
        to.handler = from.handler;
        to.tells_usage = from.tells_usage;
        to.admin = from.admin;
    }
}

void note_in_force(ngx_conf_t* cf, const location_conf& conf)
{
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    for (limit_level& level : levels_of(mcf)) {
        const bool has_it =
            (level.rules && level.rules == conf.rules) || (level.request && level.request == conf.request);
        level.in_force = level.in_force || has_it;
        level.is_read_for = level.is_read_for || (has_it && conf.reads_body);
    }
}

} // namespace

char* set_content(ngx_conf_t* cf, const ngx_command_t* directive, location_conf& conf,
                  ngx_http_handler_pt handler)
{
    if (conf.content == directive) {
        return const_cast<char*>("is duplicate");
    }
    if (conf.content) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" cannot stand beside \"%V\" in one location",
                           &directive->name, &conf.content->name);
        return conf_error();
    }
    conf.content = directive;
    conf.handler = handler;
    ngx_http_core_loc_conf_t* core = core_conf_of(cf);
    if (core->handler) {
        return refuse_second_answer(cf, conf);
    }
    core->handler = handler;
    return NGX_CONF_OK;
}

void* create_main_conf(ngx_conf_t* cf)
{
    auto* conf = make<main_conf>(cf->pool);
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (conf && cleanup) {
        ngx_queue_init(&conf->running);
        ngx_queue_init(&conf->stopping);
        cleanup->handler = free_list::free_all;
        cleanup->data = &conf->requests;
    }
    if (!conf || !cleanup || ngx_array_init(&conf->zones, cf->pool, 2, sizeof(zone_conf*)) != NGX_OK
        || ngx_array_init(&conf->sources, cf->pool, 4, sizeof(key_source*)) != NGX_OK
        || ngx_array_init(&conf->levels, cf->pool, 4, sizeof(limit_level)) != NGX_OK
        || ngx_array_init(&conf->admins, cf->pool, 1, sizeof(zone_ref*)) != NGX_OK
        || ngx_array_init(&conf->models, cf->pool, 4, sizeof(model_level*)) != NGX_OK) {
        return nullptr;
    }
    return conf;
}

void* create_location_conf(ngx_conf_t* cf)
{
    auto* conf = make<location_conf>(cf->pool);
    if (conf) {
        conf->keys = static_cast<key_source*>(NGX_CONF_UNSET_PTR);
        conf->inject = NGX_CONF_UNSET_UINT;
        conf->websocket = NGX_CONF_UNSET;
        conf->reads_body = NGX_CONF_UNSET;
        conf->quota_status = NGX_CONF_UNSET_UINT;
    }
    return conf;
}

char* merge_location_conf(ngx_conf_t* cf, void* parent, void* child)
{
    auto& from = *static_cast<location_conf*>(parent);
    auto& to = *static_cast<location_conf*>(child);
    if (to.content && core_conf_of(cf)->handler != to.handler) {
        return refuse_second_answer(cf, to);
    }
    inherit_content(cf, from, to);
    if (to.keys == NGX_CONF_UNSET_PTR) {
        to.keys = from.keys == NGX_CONF_UNSET_PTR ? nullptr : from.keys;
        to.identity = from.identity;
    }
    if (to.identity && core_conf_of(cf)->satisfy == NGX_HTTP_SATISFY_ANY) {
        ngx_conf_log_error(
            NGX_LOG_EMERG, cf, 0,
            "\"identity=\" in \"llm_api_keys\" cannot stand under \"satisfy any\": a name would "
            "be taken that no module has checked");
        return conf_error();
    }
    if ((to.tells_usage || to.tells_models) && !to.keys) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" needs \"llm_api_keys\": it tells the owner of a key about that key",
                           &to.content->name);
        return conf_error();
    }
    ngx_conf_merge_value(to.reads_body, from.reads_body, 1);
    if (!to.rules) {
        to.rules = from.rules;
    }
    if (!to.request) {
        to.request = from.request;
    }
    if (to.keys) {
        note_in_force(cf, to);
    }
    if (!to.models) {
        to.models = from.models;
    }
    if (to.tells_models && !to.models) {
        ngx_conf_log_error(
            NGX_LOG_EMERG, cf, 0,
            "\"%V\" needs \"llm_model\" here or in a level above: it lists the models of that table",
            &to.content->name);
        return conf_error();
    }
    if (to.models && to.keys) {
        to.models->in_force = true;
        to.models->is_read_for = to.models->is_read_for || to.reads_body;
    }
    if (!to.weights) {
        to.weights = from.weights;
    }
    ngx_conf_merge_uint_value(to.inject, from.inject, static_cast<ngx_uint_t>(usage_inject::final));
    ngx_conf_merge_value(to.websocket, from.websocket, 0);
    ngx_conf_merge_uint_value(to.quota_status, from.quota_status, NGX_HTTP_TOO_MANY_REQUESTS);
    if (to.errors.is == errors_as::unset) {
        to.errors = from.errors;
    }
    return NGX_CONF_OK;
}

} // namespace llm
