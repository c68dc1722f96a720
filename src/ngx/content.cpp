#include "content.h"

#include "headers_in.h"

#include "core/base/accept.h"

#include <algorithm>

namespace llm {

namespace {

// Filters look at the type without its parameters, and leave a charset alone that they are told of.
void set_content_type(ngx_http_request_t* r, std::string_view type)
{
    constexpr std::string_view mark = "charset=";
    r->headers_out.content_type = to_ngx(type);
    r->headers_out.content_type_len = std::min(type.find(';'), type.size());
    if (size_t at = type.find(mark); at != std::string_view::npos) {
        r->headers_out.charset = to_ngx(type.substr(at + mark.size()));
    }
}

} // namespace

ngx_int_t begin_content(ngx_http_request_t* r)
{
    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }
    return ngx_http_discard_request_body(r);
}

ngx_int_t send_content_header(ngx_http_request_t* r, std::string_view type, off_t length, ngx_uint_t status)
{
    r->headers_out.status = status;
    r->headers_out.content_length_n = length;
    set_content_type(r, type);
    return ngx_http_send_header(r);
}

ngx_int_t send_last_content(ngx_http_request_t* r, chain_writer& text)
{
    ngx_chain_t* chain = text.take();
    if (!chain) {
        return ngx_http_send_special(r, NGX_HTTP_LAST);
    }
    ngx_chain_t* last = chain;
    while (last->next) {
        last = last->next;
    }
    // The end of a subrequest is not that of the reply.
    last->buf->last_buf = r == r->main;
    last->buf->last_in_chain = 1;
    return ngx_http_output_filter(r, chain);
}

ngx_int_t send_content(ngx_http_request_t* r, chain_writer& text, std::string_view type, ngx_uint_t status)
{
    if (text.failed()) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_int_t rc = send_content_header(r, type, text.length(), status);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }
    return send_last_content(r, text);
}

bool prefers_html(ngx_http_request_t* r)
{
    accept_match page("text/html");
    accept_match json("application/json");
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (lowcase_name(header) == "accept") {
            page.add(view(header.value));
            json.add(view(header.value));
        }
    });
    return page.quality() > json.quality();
}

} // namespace llm
