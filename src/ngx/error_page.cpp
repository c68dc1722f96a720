// The errors of nginx itself, which error_page brings here, in the shape of the API that was called.

#include "error_page.h"

#include "error_reply.h"
#include "limit_headers.h"

#include "core/api/api_table.h"
#include "core/api/status_answer.h"

namespace llm {

namespace {

// A refusal that llm_errors nginx left to error_page. Its headers are there already, but for a 401 that was
// left to the other access modules of "satisfy any".
ngx_int_t send_refusal(ngx_http_request_t* r, const request_ctx& ctx)
{
    refusal_answer answer = answer_of(ctx.refused);
    answer.status = ctx.refused_as;
    if (answer.authenticate) {
        drop_refusal_headers(r);
        if ((!r->headers_out.www_authenticate && !ask_for_key(r)) || !add_retry_headers(r, answer, 0)) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return send_error(r, answer, view(ctx.refused_detail));
}

ngx_int_t error_page_handler(ngx_http_request_t* r)
{
    refusal_answer answer = answer_of_status(static_cast<unsigned>(r->err_status));
    // It stands above the status of whatever is sent: none, or one of nginx's own such as 494, would not do.
    r->err_status = answer.status;

    request_ctx* ctx = find_request(r);
    if (ctx && ctx->refused != refusal::none && ctx->refused_as == answer.status) {
        return send_refusal(r, *ctx);
    }
    if ((answer.authenticate && !r->headers_out.www_authenticate && !ask_for_key(r))
        || !add_retry_headers(r, answer, 0)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return send_error(r, answer, {});
}

} // namespace

char* set_errors(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    ngx_str_t* value = static_cast<ngx_str_t*>(cf->args->elts) + 1;
    if (lcf.errors.is != errors_as::unset) {
        return const_cast<char*>("is duplicate");
    }
    if (view(*value) == "auto") {
        lcf.errors.is = errors_as::automatic;
        return NGX_CONF_OK;
    }
    if (view(*value) == "nginx") {
        lcf.errors.is = errors_as::nginx;
        return NGX_CONF_OK;
    }
    for (const api_row& row : api_rows()) {
        if (view(*value) == row.name) {
            lcf.errors = {errors_as::shape, row.name};
            return NGX_CONF_OK;
        }
    }
    ngx_conf_log_error(
        NGX_LOG_EMERG, cf, 0,
        "invalid value \"%V\" in \"llm_errors\": expected openai, anthropic, ollama, gemini, auto or nginx",
        value);
    return static_cast<char*>(NGX_CONF_ERROR);
}

char* set_error_page(ngx_conf_t* cf, ngx_command_t* directive, void* conf)
{
    return set_content(cf, directive, *static_cast<location_conf*>(conf), error_page_handler);
}

bool is_error_page(ngx_http_request_t* r)
{
    return r->content_handler == error_page_handler;
}

ngx_int_t answer_error(ngx_http_request_t* r)
{
    ngx_http_finalize_request(r, error_page_handler(r));
    return NGX_DONE;
}

} // namespace llm
