// Answers that the gateway gives itself.

#include "request.h"

namespace llm {

namespace {

bool add_header(ngx_http_request_t* r, std::string_view name, ngx_str_t value)
{
    auto* h = static_cast<ngx_table_elt_t*>(ngx_list_push(&r->headers_out.headers));
    if (!h) {
        return false;
    }
    h->hash = 1;
    h->key = to_ngx(name);
    h->value = value;
    return true;
}

bool add_headers(ngx_http_request_t* r, const refusal_answer& answer)
{
    if (answer.authenticate && !add_header(r, "WWW-Authenticate", to_ngx("Bearer"))) {
        return false;
    }
    if (answer.retry_after == 0) {
        return true;
    }
    auto* text = static_cast<u_char*>(ngx_pnalloc(r->pool, NGX_INT_T_LEN));
    if (!text) {
        return false;
    }
    auto length = static_cast<size_t>(ngx_sprintf(text, "%ud", answer.retry_after) - text);
    return add_header(r, "Retry-After", {length, text});
}

bool satisfies_any(ngx_http_request_t* r)
{
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    return core->satisfy == NGX_HTTP_SATISFY_ANY;
}

} // namespace

ngx_int_t refuse(ngx_http_request_t* r, request_ctx& ctx, refusal why, std::string_view detail)
{
    const refusal_answer& answer = answer_of(why);
    ctx.refused = why;
    ctx.ended = outcome::refused;

    std::string_view reason = answer.reason;
    ngx_str_t reason_text = to_ngx(reason);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "llm: request refused: %V", &reason_text);

    // Under "satisfy any" another access handler may still let the request in, so that it can't be answered
    // here.
    if (answer.status == NGX_HTTP_UNAUTHORIZED && satisfies_any(r)) {
        return NGX_HTTP_UNAUTHORIZED;
    }

    auto* body = static_cast<char*>(ngx_pnalloc(r->pool, refusal_body_bytes(why, detail)));
    if (!body || !add_headers(r, answer)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_str_t type = ngx_string("application/json");
    ngx_http_complex_value_t value = {};
    value.value = to_ngx({body, write_refusal_body(why, detail, body)});

    ngx_int_t rc = ngx_http_send_response(r, answer.status, &type, &value);
    ngx_http_finalize_request(r, rc);
    return NGX_DONE;
}

} // namespace llm
