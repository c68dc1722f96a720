#include "access.h"
#include "commands.h"
#include "conf.h"
#include "credentials.h"
#include "key_conf.h"
#include "limit_conf.h"
#include "model_conf.h"
#include "reply_filter.h"
#include "request_body.h"
#include "subrequest.h"
#include "variables.h"
#include "worker.h"

namespace llm {

namespace {

ngx_int_t preconfiguration(ngx_conf_t* cf)
{
    return add_variables(cf);
}

ngx_int_t postconfiguration(ngx_conf_t* cf)
{
    if (resolve_zones(cf) != NGX_OK || check_levels(cf) != NGX_OK) {
        return NGX_ERROR;
    }
    if (finish_model_tables(cf) != NGX_OK) {
        return NGX_ERROR;
    }
    auto* core =
        static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    auto* handler =
        static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[NGX_HTTP_ACCESS_PHASE].handlers));
    if (!handler) {
        return NGX_ERROR;
    }
    *handler = access_handler;
    auto* precontent =
        static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[NGX_HTTP_PRECONTENT_PHASE].handlers));
    if (!precontent) {
        return NGX_ERROR;
    }
    *precontent = precontent_handler;
    auto* rewrite =
        static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[NGX_HTTP_REWRITE_PHASE].handlers));
    if (!rewrite) {
        return NGX_ERROR;
    }
    *rewrite = subrequest_handler;
    auto* main = static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    if (main->sources.nelts != 0 && install_credential_reader(cf) != NGX_OK) {
        return NGX_ERROR;
    }
    main->hashes_prompts = names_prompt_hash(cf);
    install_request_body_filter();
    install_reply_filters();
    return NGX_OK;
}

ngx_http_module_t context = {
    .preconfiguration = preconfiguration,
    .postconfiguration = postconfiguration,
    .create_main_conf = create_main_conf,
    .init_main_conf = nullptr,
    .create_srv_conf = nullptr,
    .merge_srv_conf = nullptr,
    .create_loc_conf = create_location_conf,
    .merge_loc_conf = merge_location_conf,
};

} // namespace

} // namespace llm

ngx_module_t ngx_http_llm_module = {
    NGX_MODULE_V1,     &llm::context,     llm::commands,         NGX_HTTP_MODULE,
    nullptr, // init_master
    llm::init_module,  llm::init_process,
    nullptr, // init_thread
    nullptr, // exit_thread
    llm::exit_process, llm::exit_master,  NGX_MODULE_V1_PADDING,
};
