// Answers that the gateway gives itself.

#include "refuse.h"

#include "error_reply.h"
#include "limit_headers.h"

namespace llm {

namespace {

constexpr uint16_t upgrade_required = 426;

bool add_headers(ngx_http_request_t* r, const request_ctx& ctx, const refusal_answer& answer,
                 uint64_t wait_ms)
{
    const bool needs_http = answer.status == upgrade_required;
    if (needs_http) {
        r->keepalive = 0; // the client may have begun to speak WebSocket
    }
    return (!answer.authenticate || ask_for_key(r)) && (!needs_http || ask_for_http(r))
           && add_retry_headers(r, answer, wait_ms) && add_limit_headers(r, ctx.decided.report);
}

bool satisfies_any(ngx_http_request_t* r)
{
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    return core->satisfy == NGX_HTTP_SATISFY_ANY;
}

refusal_answer note_refusal(ngx_http_request_t* r, request_ctx& ctx, refusal why, bool is_left)
{
    refusal_answer answer = answer_of(why);
    if (why == refusal::quota) {
        answer.status = static_cast<uint16_t>(location_conf_of(r)->quota_status);
    }
    ctx.refused = why;
    ctx.refusal_is_left = is_left;
    ctx.refused_as = answer.status;
    ngx_str_t reason = to_ngx(answer.reason);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "llm: request refused: %V", &reason);
    return answer;
}

} // namespace

ngx_int_t refuse_subrequest(ngx_http_request_t* r, request_ctx& ctx, refusal why)
{
    const refusal_answer answer = note_refusal(r, ctx, why, true);
    if (answer.status == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return answer.status;
    }
    if (!answer.authenticate) {
        return NGX_HTTP_FORBIDDEN;
    }
    return ask_for_key(r) ? NGX_HTTP_UNAUTHORIZED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

ngx_int_t refuse(ngx_http_request_t* r, request_ctx& ctx, refusal why, std::string_view detail,
                 uint64_t wait_ms)
{
    // Under "satisfy any" another access handler may still let the request in, so that it can't be answered
    // here.
    const uint16_t status = answer_of(why).status;
    const bool is_left =
        (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN) && satisfies_any(r);
    const refusal_answer answer = note_refusal(r, ctx, why, is_left);
    if (is_left) {
        return status;
    }

    // An error page may have led to another refusal.
    drop_refusal_headers(r);
    if (!add_headers(r, ctx, answer, wait_ms)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ctx.errors.is == errors_as::nginx) {
        ctx.refused_detail = detail.empty() ? ngx_str_t{0, nullptr} : copy_text(r->pool, detail);
        return ctx.refused_detail.len == detail.size() ? answer.status : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_http_finalize_request(r, send_error(r, answer, detail));
    return NGX_DONE;
}

} // namespace llm
