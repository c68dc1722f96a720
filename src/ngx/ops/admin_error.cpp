#include "admin_error.h"

#include "json_writer.h"

#include "ngx/content.h"

namespace llm {

ngx_int_t send_admin_error(ngx_http_request_t* r, ngx_uint_t status, std::string_view code,
                           std::string_view message)
{
    chain_writer text(r->pool);
    json_writer out(text);
    out.begin_object();
    out.name("error");
    out.begin_object();
    out.field("message", message);
    out.field("type", status < NGX_HTTP_INTERNAL_SERVER_ERROR ? "invalid_request_error" : "server_error");
    out.null("param");
    out.field("code", code);
    out.end_object();
    out.end_object();
    text.put("\n");
    return send_content(r, text, "application/json", status);
}

} // namespace llm
