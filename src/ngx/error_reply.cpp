#include "error_reply.h"

#include "limit_headers.h"

#include "core/api/error_body.h"

#include <algorithm>

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
    const request_ctx* ctx = find_request(r);
    const api by_path = ctx ? ctx->call.speaks : api_of_path(view(r->main->unparsed_uri));
    const errors_as& errors = ctx ? ctx->errors : location_conf_of(r)->errors;
    if (errors.is != errors_as::shape || row_of(by_path).name == errors.name) {
        return by_path;
    }
    const auto rows = api_rows();
    const auto row =
        std::find_if(rows.begin(), rows.end(), [&](const api_row& of) { return of.name == errors.name; });
    return static_cast<api>(row - rows.begin());
}

ngx_int_t send_error(ngx_http_request_t* r, const refusal_answer& answer, std::string_view detail)
{
    api as = asked_api(r);
    ngx_str_t id = ngx_null_string;
    if (row_of(as).has_request_id) {
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
