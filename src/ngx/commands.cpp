#include "commands.h"

#include "conf.h"
#include "conf_args.h"
#include "error_page.h"
#include "key_conf.h"
#include "limit_conf.h"
#include "model_conf.h"
#include "policy_conf.h"

#include "ngx/ops/admin.h"
#include "ngx/ops/metrics.h"
#include "ngx/ops/models.h"
#include "ngx/ops/status.h"
#include "ngx/ops/usage.h"

#include <algorithm>

namespace llm {

namespace {

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

ngx_conf_enum_t quota_statuses[] = {
    {ngx_string("429"), NGX_HTTP_TOO_MANY_REQUESTS},
    {ngx_string("402"), 402},
    {ngx_null_string, 0},
};

char* set_status(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    return set_content(cf, directive, *static_cast<location_conf*>(conf), status_handler);
}

char* set_metrics(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    return set_content(cf, directive, *static_cast<location_conf*>(conf), metrics_handler);
}

char* set_usage(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    lcf.tells_usage = true;
    return set_content(cf, directive, lcf, usage_handler);
}

// What is behind the location's name says what is asked for, so it has to have one.
bool has_prefix(const ngx_http_core_loc_conf_t& core)
{
#if (NGX_PCRE)
    if (core.regex) {
        return false;
    }
#endif
    return !core.exact_match && !core.named && !core.noname;
}

char* set_admin(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    const auto& core =
        *static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    ngx_str_t zone = ngx_null_string;
    if (cf->args->nelts > 1) {
        zone = option(arguments(cf)[1], "zone=");
        if (!zone.data || zone.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"llm_admin\": expected zone=name",
                               &arguments(cf)[1]);
            return conf_error();
        }
    }
    if (!has_prefix(core)) {
        return const_cast<char*>("needs a location of a prefix, such as \"location /llm/admin/\"");
    }
    if (char* error = set_content(cf, directive, lcf, admin_handler); error != NGX_CONF_OK) {
        return error;
    }
    auto* ref = make<zone_ref>(cf->pool);
    if (!ref || !push(mcf.admins, ref)) {
        return conf_error();
    }
    *ref = {view(directive->name), zone, nullptr, cf->conf_file->file.name, cf->conf_file->line};
    lcf.admin = ref;
    return NGX_CONF_OK;
}

char* set_models(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    lcf.tells_models = true;
    return set_content(cf, directive, lcf, models_handler);
}

// nginx takes quotes away only where a word begins with one: of `as="big"` they would be part of the value.
bool has_kept_quote(std::string_view word)
{
    const size_t equals = word.find('=');
    return equals != std::string_view::npos && equals + 1 < word.size()
           && (word[equals + 1] == '"' || word[equals + 1] == '\'')
           && std::all_of(word.begin(), word.begin() + equals,
                          [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

// `set`, for a directive that has parameters `name=value`.
template <auto set>
char* unquoted(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        if (has_kept_quote(view(arguments(cf)[i]))) {
            ngx_conf_log_error(
                NGX_LOG_EMERG, cf, 0,
                "invalid parameter \"%V\" in \"%V\": nginx would keep the quotes behind \"=\", "
                "expected none, or quotes around the whole parameter",
                &arguments(cf)[i], &directive->name);
            return conf_error();
        }
    }
    return set(cf, directive, conf);
}

} // namespace

ngx_command_t commands[] = {
    {ngx_string("llm_zone"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE123, unquoted<set_zone>,
     NGX_HTTP_MAIN_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_api_keys"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE123, unquoted<set_api_keys>,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_limit"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
     unquoted<set_limit>, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_model"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
     unquoted<set_model>, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_usage_weights"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE123,
     unquoted<set_usage_weights>, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_usage_inject"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_usage_inject,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_websocket"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_FLAG,
     ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(location_conf, websocket), nullptr},
    {ngx_string("llm_request"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_2MORE,
     set_request, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_body"), NGX_HTTP_LOC_CONF | NGX_CONF_FLAG, ngx_conf_set_flag_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(location_conf, reads_body), nullptr},
    {ngx_string("llm_quota_status"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, ngx_conf_set_enum_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(location_conf, quota_status), quota_statuses},
    {ngx_string("llm_errors"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     set_errors, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("llm_error"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_error_page, NGX_HTTP_LOC_CONF_OFFSET,
     0, nullptr},
    {ngx_string("llm_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_status, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("llm_models"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_models, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("llm_metrics"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_metrics, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("llm_usage"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_usage, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("llm_admin"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1, unquoted<set_admin>,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_null_command,
};

} // namespace llm
