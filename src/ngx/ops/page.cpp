#include "page.h"

#include "ngx/content.h"
#include "ngx/limit_headers.h"

#include <utility>

namespace llm {

namespace {

ngx_int_t send_page(ngx_http_request_t* r, const page_document& page, std::string_view mark)
{
    // What is on the page is of the moment, and nobody else's.
    const std::pair<std::string_view, std::string_view> headers[] = {
        {"Content-Security-Policy", page.policy},
        {"Referrer-Policy", "no-referrer"},
        {"X-Content-Type-Options", "nosniff"},
        {"Cache-Control", "no-store"},
    };
    for (const auto& [name, value] : headers) {
        if (!add_header_out(r, name, to_ngx(value))) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    chain_writer out(r->pool);
    constexpr std::string_view body = "\n<body";
    const size_t at = mark.empty() ? std::string_view::npos : page.text.find(body);
    if (at == std::string_view::npos) {
        out.put(page.text);
    } else {
        out.put(page.text.substr(0, at + body.size()));
        out.put(mark);
        out.put(page.text.substr(at + body.size()));
    }
    return send_content(r, out, "text/html; charset=utf-8");
}

} // namespace

std::optional<ngx_int_t> offer_page(ngx_http_request_t* r, const page_document& page, std::string_view mark)
{
    if (!add_header_out(r, "Vary", to_ngx("Accept"))) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!prefers_html(r)) {
        return std::nullopt;
    }
    return send_page(r, page, mark);
}

} // namespace llm
