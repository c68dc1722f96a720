#include "conf.h"

#include "error_page.h"
#include "limit_conf.h"
#include "metrics.h"
#include "status.h"

#include "core/base/hash.h"
#include "keys/key_file.h"

#include <algorithm>
#include <new>

namespace llm {

namespace {

constexpr size_t min_zone_bytes = 512 * 1024;

char* conf_error()
{
    return static_cast<char*>(NGX_CONF_ERROR);
}

ngx_str_t* arguments(ngx_conf_t* cf)
{
    return static_cast<ngx_str_t*>(cf->args->elts);
}

// What stands behind "name=" in an argument; data is nullptr if it is another argument.
ngx_str_t option(const ngx_str_t& argument, std::string_view name)
{
    std::string_view text = view(argument);
    if (!text.starts_with(name)) {
        return {0, nullptr};
    }
    return to_ngx(text.substr(name.size()));
}

template <class T>
T* make(ngx_pool_t* pool)
{
    void* memory = ngx_pcalloc(pool, sizeof(T));
    return memory ? new (memory) T() : nullptr;
}

template <class T>
bool push(ngx_array_t& array, T value)
{
    auto* slot = static_cast<T*>(ngx_array_push(&array));
    if (slot) {
        *slot = value;
    }
    return slot != nullptr;
}

char* set_zone(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& mcf = *static_cast<main_conf*>(conf);
    ngx_str_t* value = arguments(cf);

    size_t colon = view(value[1]).rfind(':');
    ngx_str_t name = to_ngx(view(value[1]).substr(0, colon));
    if (colon == std::string_view::npos || name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\" in \"llm_zone\": expected name:size, such as llm:32m",
                           &value[1]);
        return conf_error();
    }
    ngx_str_t size_text = to_ngx(view(value[1]).substr(colon + 1));
    ssize_t size = ngx_parse_size(&size_text);
    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" in \"llm_zone\": expected a size such as 32m", &size_text);
        return conf_error();
    }
    if (static_cast<size_t>(size) < min_zone_bytes) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "llm_zone \"%V\" is too small: expected at least %uzk",
                           &name, min_zone_bytes >> 10);
        return conf_error();
    }
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_str_t state = option(value[i], "state=");
        if (!state.data || state.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"llm_zone\": expected state=file", &value[i]);
            return conf_error();
        }
        ngx_conf_log_error(
            NGX_LOG_WARN, cf, 0,
            "\"state=\" of \"llm_zone\" is not in force yet: counters start at zero after a restart");
    }

    auto* zone = make<zone_conf>(cf->pool);
    if (!zone || ngx_array_init(&zone->sources, cf->pool, 2, sizeof(key_source*)) != NGX_OK) {
        return conf_error();
    }
    zone->name = name;
    zone->owner = no_index;
    zone->shm = ngx_shared_memory_add(cf, &name, static_cast<size_t>(size), &ngx_http_llm_module);
    if (!zone->shm) {
        return conf_error();
    }
    if (zone->shm->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate zone \"%V\" in \"llm_zone\"", &name);
        return conf_error();
    }
    zone->shm->init = zone_init;
    zone->shm->data = zone;
    return push(mcf.zones, zone) ? NGX_CONF_OK : conf_error();
}

void delete_parsed(void* data)
{
    delete static_cast<key_file*>(data);
}

char* load_source(ngx_conf_t* cf, key_source& source)
{
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    source.parsed = new (std::nothrow) key_file;
    if (!cleanup || !source.parsed) {
        return conf_error();
    }
    cleanup->handler = delete_parsed;
    cleanup->data = source.parsed;

    auto error = load_key_file(reinterpret_cast<const char*>(source.path.data), *source.parsed);
    if (error) {
        if (error->line) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V:%uD:%uD: %s", &source.path, error->line,
                               error->column, error->text.c_str());
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &source.path, error->text.c_str());
        }
        return conf_error();
    }
    if (!source.parsed->not_in_force.empty()) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0, "%V: %s", &source.path, source.parsed->not_in_force.c_str());
    }
    return NGX_CONF_OK;
}

key_source* find_source(main_conf& mcf, const ngx_str_t& path, const ngx_str_t& zone)
{
    auto** sources = static_cast<key_source**>(mcf.sources.elts);
    for (ngx_uint_t i = 0; i < mcf.sources.nelts; i++) {
        if (view(sources[i]->path) == view(path) && view(sources[i]->zone_name) == view(zone)) {
            return sources[i];
        }
    }
    return nullptr;
}

char* set_api_keys(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    ngx_str_t* value = arguments(cf);

    if (lcf.keys != NGX_CONF_UNSET_PTR) {
        return const_cast<char*>("is duplicate");
    }
    if (view(value[1]) == "off") {
        if (cf->args->nelts > 2) {
            return const_cast<char*>("\"off\" takes no other parameter");
        }
        lcf.keys = nullptr;
        return NGX_CONF_OK;
    }

    ngx_str_t zone = ngx_null_string;
    if (cf->args->nelts > 2) {
        zone = option(value[2], "zone=");
        if (!zone.data || zone.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"llm_api_keys\": expected zone=name", &value[2]);
            return conf_error();
        }
    }
    ngx_str_t path = value[1];
    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return conf_error();
    }

    lcf.keys = find_source(mcf, path, zone);
    if (lcf.keys) {
        return NGX_CONF_OK;
    }
    auto* source = make<key_source>(cf->pool);
    if (!source || !push(mcf.sources, source)) {
        return conf_error();
    }
    source->path = path;
    source->id = name_hash(view(path));
    source->zone_name = zone;
    source->conf_file = cf->conf_file->file.name;
    source->conf_line = cf->conf_file->line;
    lcf.keys = source;
    return load_source(cf, *source);
}

char* set_usage_inject(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    std::string_view mode = view(arguments(cf)[1]);

    if (lcf.inject != NGX_CONF_UNSET_UINT) {
        return const_cast<char*>("is duplicate");
    }
    if (mode == "final") {
        lcf.inject = static_cast<ngx_uint_t>(usage_inject::final);
    } else if (mode == "continuous") {
        lcf.inject = static_cast<ngx_uint_t>(usage_inject::continuous);
    } else if (mode == "off") {
        lcf.inject = static_cast<ngx_uint_t>(usage_inject::off);
    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"llm_usage_inject\": expected final, continuous or off",
                           &arguments(cf)[1]);
        return conf_error();
    }
    return NGX_CONF_OK;
}

ngx_http_core_loc_conf_t* core_conf_of(ngx_conf_t* cf)
{
    return static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
}

// One of them would never answer, and nginx would not say so.
char* refuse_second_answer(ngx_conf_t* cf, const location_conf& conf)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" can not stand beside another directive that answers, such as \"proxy_pass\", "
                       "in one location",
                       &conf.content->name);
    return conf_error();
}

char* set_status(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    return set_content(cf, directive, *static_cast<location_conf*>(conf), status_handler);
}

char* set_metrics(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    return set_content(cf, directive, *static_cast<location_conf*>(conf), metrics_handler);
}

zone_conf* find_zone(main_conf& mcf, const ngx_str_t& name)
{
    for (zone_conf* zone : zones_of(mcf)) {
        if (view(zone->name) == view(name)) {
            return zone;
        }
    }
    return nullptr;
}

// Two ways to name one zone must not make one file two.
bool zone_has(const zone_conf& zone, const key_source& source)
{
    auto sources = sources_of(zone);
    return std::any_of(sources.begin(), sources.end(),
                       [&](const key_source* s) { return s->id == source.id; });
}

} // namespace

ngx_command_t commands[] = {
    {ngx_string("llm_zone"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE12, set_zone, NGX_HTTP_MAIN_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("llm_api_keys"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12,
     set_api_keys, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_limit"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
     set_limit, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_usage_weights"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE123, set_usage_weights,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_usage_inject"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_usage_inject,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_errors"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     set_errors, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_error"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_error_page, NGX_HTTP_LOC_CONF_OFFSET,
     0, nullptr},
    {ngx_string("llm_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_status, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("llm_metrics"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_metrics, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    ngx_null_command,
};

char* set_content(ngx_conf_t* cf, const ngx_command_t* directive, location_conf& conf,
                  ngx_http_handler_pt handler)
{
    if (conf.content == directive) {
        return const_cast<char*>("is duplicate");
    }
    if (conf.content) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" can not stand beside \"%V\" in one location",
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
        cleanup->handler = spare_room::free_all;
        cleanup->data = &conf->requests;
    }
    if (!conf || !cleanup || ngx_array_init(&conf->zones, cf->pool, 2, sizeof(zone_conf*)) != NGX_OK
        || ngx_array_init(&conf->sources, cf->pool, 4, sizeof(key_source*)) != NGX_OK) {
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
    if (to.keys == NGX_CONF_UNSET_PTR) {
        to.keys = from.keys == NGX_CONF_UNSET_PTR ? nullptr : from.keys;
    }
    if (!to.rules) {
        to.rules = from.rules;
    }
    if (!to.weights) {
        to.weights = from.weights;
    }
    ngx_conf_merge_uint_value(to.inject, from.inject, static_cast<ngx_uint_t>(usage_inject::final));
    if (to.errors == errors_as::unset) {
        to.errors = from.errors;
    }
    return NGX_CONF_OK;
}

ngx_int_t resolve_zones(ngx_conf_t* cf)
{
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    auto** sources = static_cast<key_source**>(mcf.sources.elts);

    for (ngx_uint_t i = 0; i < mcf.sources.nelts; i++) {
        key_source& source = *sources[i];
        if (source.zone_name.len) {
            source.zone = find_zone(mcf, source.zone_name);
            if (!source.zone) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "\"llm_api_keys\" names a zone \"%V\" that no \"llm_zone\" makes in %V:%ui",
                              &source.zone_name, &source.conf_file, source.conf_line);
                return NGX_ERROR;
            }
        } else if (mcf.zones.nelts == 1) {
            source.zone = zones_of(mcf)[0];
        } else {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          mcf.zones.nelts == 0
                              ? "\"llm_api_keys\" needs an \"llm_zone\" in %V:%ui"
                              : "\"llm_api_keys\" needs \"zone=\", since there are several zones, in %V:%ui",
                          &source.conf_file, source.conf_line);
            return NGX_ERROR;
        }
        if (!zone_has(*source.zone, source) && !push(source.zone->sources, &source)) {
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

} // namespace llm
