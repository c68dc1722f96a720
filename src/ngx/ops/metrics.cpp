// llm_metrics: what the zones say, for Prometheus.

#include "metrics.h"

#include "metrics_page.h"

#include "core/base/accept.h"
#include "ngx/content.h"
#include "ngx/headers_in.h"

#include <new>

namespace llm {

namespace {

// Who takes both equally gets the text format, which more programs read.
metric_format format_for(ngx_http_request_t* r)
{
    accept_match open("application/openmetrics-text");
    accept_match text("text/plain");
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (lowcase_name(header) == "accept") {
            open.add(view(header.value));
            text.add(view(header.value));
        }
    });
    return open.quality() > text.quality() ? metric_format::open_metrics : metric_format::text;
}

} // namespace

ngx_int_t metrics_handler(ngx_http_request_t* r)
{
    ngx_int_t rc = begin_content(r);
    if (rc != NGX_OK) {
        return rc;
    }
    void* memory = ngx_palloc(r->pool, sizeof(metrics_page));
    if (!memory) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    chain_writer text(r->pool);
    auto* page = new (memory) metrics_page(r, text, format_for(r));
    while (page->put_slice()) {
    }
    return page->failed() ? NGX_HTTP_INTERNAL_SERVER_ERROR : send_content(r, text, page->content_type());
}

} // namespace llm
