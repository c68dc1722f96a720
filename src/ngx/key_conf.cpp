#include "key_conf.h"

#include "conf.h"
#include "conf_args.h"

#include "core/base/hash.h"
#include "keys/key_file.h"

#include <algorithm>

namespace llm {

namespace {

constexpr size_t min_zone_bytes = 512 * 1024;

void delete_parsed(void* data)
{
    delete static_cast<key_file*>(data);
}

void say(ngx_conf_t* cf, ngx_uint_t level, const key_source& source, const file_error& what)
{
    if (what.line) {
        ngx_conf_log_error(level, cf, 0, "%V:%uD:%uD: %s", &source.path, what.line, what.column,
                           what.text.c_str());
    } else {
        ngx_conf_log_error(level, cf, 0, "%V: %s", &source.path, what.text.c_str());
    }
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
        say(cf, NGX_LOG_EMERG, source, *error);
        return conf_error();
    }
    for (const file_error& warning : warnings_of(*source.parsed)) {
        say(cf, NGX_LOG_WARN, source, warning);
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

zone_conf* find_zone(main_conf& mcf, const ngx_str_t& name)
{
    for (zone_conf* zone : zones_of(mcf)) {
        if (view(zone->name) == view(name)) {
            return zone;
        }
    }
    return nullptr;
}

// The one that stands for this file in the zone: two ways to name one zone must not make one file two.
key_source* same_in_zone(const zone_conf& zone, const key_source& source)
{
    auto sources = sources_of(zone);
    auto same =
        std::find_if(sources.begin(), sources.end(), [&](const key_source* s) { return s->id == source.id; });
    return same == sources.end() ? nullptr : *same;
}

// Once all directives were read: it is known which files are used by name.
ngx_int_t finish_sources(ngx_conf_t* cf, const zone_conf& zone)
{
    for (key_source* source : sources_of(zone)) {
        if (const auto error = finish_keys(*source->parsed, source->by_name)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%V:%uD:%uD: %s in %V:%ui", &source->path, error->line,
                          error->column, error->text.c_str(), &source->conf_file, source->conf_line);
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

bool compile_value(ngx_conf_t* cf, ngx_str_t& text, ngx_http_complex_value_t*& to)
{
    auto* value = make<ngx_http_complex_value_t>(cf->pool);
    ngx_http_compile_complex_value_t compile{};
    compile.cf = cf;
    compile.value = &text;
    compile.complex_value = value;
    if (!value || ngx_http_compile_complex_value(&compile) != NGX_OK) {
        return false;
    }
    to = value;
    return true;
}

// state=FILE and keep=TIME.
ngx_int_t read_state_options(ngx_conf_t* cf, zone_conf& zone)
{
    ngx_str_t* value = arguments(cf);
    bool keeps = false;
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_str_t path = option(value[i], "state=");
        ngx_str_t keep = option(value[i], "keep=");
        if ((path.data && zone.state_path.len != 0) || (keep.data && keeps)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate \"%V\" in \"llm_zone\"", &value[i]);
            return NGX_ERROR;
        }
        if (path.data && path.len != 0) {
            if (ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK) {
                return NGX_ERROR;
            }
            zone.state_path = path;
            continue;
        }
        const ngx_int_t seconds = keep.data ? ngx_parse_time(&keep, 1) : NGX_ERROR;
        if (seconds == NGX_ERROR || seconds == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"llm_zone\": expected state=file, or a time "
                               "such as keep=400d",
                               &value[i]);
            return NGX_ERROR;
        }
        keeps = true;
        zone.keep_s = seconds;
    }
    if (keeps && zone.state_path.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"keep=\" in \"llm_zone\" needs \"state=\"");
        return NGX_ERROR;
    }
    return NGX_OK;
}

} // namespace

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
    auto* zone = make<zone_conf>(cf->pool);
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (!zone || !cleanup || ngx_array_init(&zone->sources, cf->pool, 2, sizeof(key_source*)) != NGX_OK) {
        return conf_error();
    }
    // The pool ends early if the configuration does not come into force.
    cleanup->handler = [](void* data) { zone_abandon(*static_cast<zone_conf*>(data)); };
    cleanup->data = zone;
    zone->name = name;
    zone->owner = no_index;
    zone->cycle = cf->cycle;
    if (read_state_options(cf, *zone) != NGX_OK) {
        return conf_error();
    }
    zone->shm = ngx_shared_memory_add(cf, &name, static_cast<size_t>(size), &ngx_http_llm_module);
    if (!zone->shm) {
        return conf_error();
    }
    if (zone->shm->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate zone \"%V\" in \"llm_zone\"", &name);
        return conf_error();
    }
    for (const zone_conf* other : zones_of(mcf)) {
        if (zone->state_path.len != 0 && view(other->state_path) == view(zone->state_path)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" is the state of llm_zone \"%V\" already",
                               &zone->state_path, &other->name);
            return conf_error();
        }
    }
    zone->shm->init = zone_init;
    zone->shm->data = zone;
    return push(mcf.zones, zone) ? NGX_CONF_OK : conf_error();
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
    ngx_str_t identity = ngx_null_string;
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_str_t in_zone = option(value[i], "zone=");
        ngx_str_t who = option(value[i], "identity=");
        if ((in_zone.data && zone.data) || (who.data && identity.data)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate \"%V\" in \"llm_api_keys\"", &value[i]);
            return conf_error();
        }
        zone = in_zone.data ? in_zone : zone;
        identity = who.data ? who : identity;
        if (in_zone.len == 0 && who.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"llm_api_keys\": expected zone=name or "
                               "identity=$variable",
                               &value[i]);
            return conf_error();
        }
    }
    if (identity.data && !compile_value(cf, identity, lcf.identity)) {
        return conf_error();
    }
    ngx_str_t path = value[1];
    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return conf_error();
    }

    lcf.keys = find_source(mcf, path, zone);
    if (lcf.keys) {
        lcf.keys->by_name = lcf.keys->by_name || lcf.identity;
        return NGX_CONF_OK;
    }
    auto* source = make<key_source>(cf->pool);
    if (!source || !push(mcf.sources, source)) {
        return conf_error();
    }
    source->path = path;
    source->id = name_hash(view(path));
    source->zone_name = zone;
    source->by_name = lcf.identity != nullptr;
    source->conf_file = cf->conf_file->file.name;
    source->conf_line = cf->conf_file->line;
    lcf.keys = source;
    return load_source(cf, *source);
}

// nullptr after an error, which is logged.
static zone_conf* resolve(ngx_conf_t* cf, main_conf& mcf, const zone_ref& ref)
{
    const ngx_str_t directive = to_ngx(ref.directive);
    if (ref.name.len) {
        zone_conf* zone = find_zone(mcf, ref.name);
        if (!zone) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%V\" names a zone \"%V\" that no \"llm_zone\" makes in %V:%ui", &directive,
                          &ref.name, &ref.conf_file, ref.conf_line);
        }
        return zone;
    }
    if (mcf.zones.nelts == 1) {
        return zones_of(mcf)[0];
    }
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  mcf.zones.nelts == 0 ? "\"%V\" needs an \"llm_zone\" in %V:%ui"
                                       : "\"%V\" needs \"zone=\", since there are several zones, in %V:%ui",
                  &directive, &ref.conf_file, ref.conf_line);
    return nullptr;
}

ngx_int_t resolve_zones(ngx_conf_t* cf)
{
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    auto** sources = static_cast<key_source**>(mcf.sources.elts);
    auto** admins = static_cast<zone_ref**>(mcf.admins.elts);

    for (zone_ref* admin : std::span(admins, mcf.admins.nelts)) {
        admin->zone = resolve(cf, mcf, *admin);
        if (!admin->zone) {
            return NGX_ERROR;
        }
    }
    for (ngx_uint_t i = 0; i < mcf.sources.nelts; i++) {
        key_source& source = *sources[i];
        source.zone =
            resolve(cf, mcf, {"llm_api_keys", source.zone_name, nullptr, source.conf_file, source.conf_line});
        if (!source.zone) {
            return NGX_ERROR;
        }
        if (key_source* same = same_in_zone(*source.zone, source)) {
            same->by_name = same->by_name || source.by_name;
        } else if (!push(source.zone->sources, &source)) {
            return NGX_ERROR;
        }
    }
    for (const zone_conf* zone : zones_of(mcf)) {
        if (finish_sources(cf, *zone) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

} // namespace llm
