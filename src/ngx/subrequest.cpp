#include "subrequest.h"

#include "credentials.h"
#include "key_check.h"
#include "refuse.h"

namespace llm {

namespace {

// Behind the access phase. What ends before it, such as `return`, was not let in by anybody.
bool is_past_access_phase(ngx_http_request_t* r)
{
    auto* core =
        static_cast<ngx_http_core_main_conf_t*>(ngx_http_get_module_main_conf(r, ngx_http_core_module));
    const ngx_http_phase_handler_t* left = &core->phase_engine.handlers[r->phase_handler];
    for (; left->checker; left++) {
        if (left->checker == ngx_http_core_access_phase) {
            return false;
        }
    }
    return true;
}

// Whether the main request was let in where the same keys are in force: by its key, or, with "satisfy any",
// by another access module. While it still is in its access phase, only its key counts; and where `identity`
// gives it one, it is let in behind that phase.
bool is_let_in(ngx_http_request_t* r, const key_source* keys)
{
    ngx_http_request_t* main = r->main;
    if (location_conf_of(main)->keys != keys) {
        return false;
    }
    const request_ctx* ctx = find_request(main);
    if (!location_conf_of(main)->identity && is_past_access_phase(main)) {
        return true;
    }
    return ctx && ctx->decided.admitted_by == keys && ctx->refused == refusal::none
           && (!ctx->by_name || is_same_here(r, *ctx));
}

} // namespace

ngx_int_t subrequest_handler(ngx_http_request_t* r)
{
    if (r == r->main) {
        return NGX_DECLINED;
    }
    const key_source* keys = location_conf_of(r)->keys;
    if (!keys || is_let_in(r, keys)) {
        return NGX_DECLINED;
    }
    request_ctx* ctx = find_or_make_request(r->main);
    if (!ctx) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ctx->step == request_step::arrived) {
        if (!take_credential(r->main, *ctx)) {
            return refuse_subrequest(r, *ctx, refusal::internal);
        }
        r->headers_in.authorization = r->main->headers_in.authorization;
    }
    if (ctx->step == request_step::keyless || (ctx->by_name && !is_same_here(r, *ctx))) {
        return refuse_subrequest(r, *ctx, refusal::no_key);
    }
    const std::optional<admission_result> result = look_at_key(r, *ctx, *keys);
    if (result && result->said == verdict::ok) {
        return NGX_DECLINED;
    }
    return refuse_subrequest(r, *ctx, result ? refusal_of(*result) : refusal::internal);
}

} // namespace llm
