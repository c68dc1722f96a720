#include "error_reply.h"

#include "limit_headers.h"

#include "core/api/error_body.h"

namespace llm {

namespace {

// $request_id, so that it is the one of the log.
ngx_str_t request_id(ngx_http_request_t* r)
{
    ngx_str_t name = ngx_string("request_id");
    ngx_http_variable_value_t* v = ngx_http_get_variable(r, &name, ngx_hash_key(name.data, name.len));
    return v && !v->not_found ? ngx_str_t{v->len, v->data} : ngx_str_t{0, nullptr};
}

} // namespace

api asked_api(ngx_http_request_t* r)
{
    request_ctx* ctx = find_request(r);
    api by_path = api_of_path(view(r->main->unparsed_uri));
    switch (ctx ? ctx->errors : location_conf_of(r)->errors) {
    case errors_as::openai:
        return by_path == api::responses ? api::responses : api::openai;
    case errors_as::anthropic:
        return api::anthropic;
    case errors_as::ollama:
        return api::ollama;
    case errors_as::unset:
    case errors_as::automatic:
    case errors_as::nginx:
        break;
    }
    return by_path;
}

ngx_int_t send_error(ngx_http_request_t* r, const refusal_answer& answer, std::string_view detail)
{
    api as = asked_api(r);
    ngx_str_t id = ngx_null_string;
    if (as == api::anthropic) {
        id = request_id(r);
        if (id.len && !add_header_out(r, "request-id", id)) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    error_text error = {answer, detail, view(id)};
    auto* body = static_cast<char*>(ngx_pnalloc(r->pool, error_text_bytes(error)));
    if (!body) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_str_t type = ngx_string("application/json");
    ngx_http_complex_value_t value = {};
    value.value = to_ngx({body, write_error_body(as, error, body)});
    return ngx_http_send_response(r, answer.status, &type, &value);
}

} // namespace llm
