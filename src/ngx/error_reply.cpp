#include "error_reply.h"

#include "limit_headers.h"

#include "core/api/api_table.h"
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

// nginx would ask for the rest of the body, to throw it away, before it answers. Whether the client then
// sends it on this connection is not known.
void leave_body(ngx_http_request_t* r)
{
    if (r->headers_in.expect && !r->request_body && r->http_version < NGX_HTTP_VERSION_20) {
        r->expect_tested = 1;
        r->keepalive = 0;
    }
}

} // namespace

ngx_int_t send_error(ngx_http_request_t* r, const refusal_answer& answer, std::string_view detail)
{
    leave_body(r);
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
