// llm_metrics: what the zones say, for Prometheus.

#include "metrics.h"

#include "metrics_page.h"
#include "sliced_reply.h"

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
    sliced_reply* reply = sliced_reply::make(r);
    void* memory = ngx_palloc(r->pool, sizeof(metrics_page));
    if (!reply || !memory) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    auto* page = new (memory) metrics_page(r, reply->out(), format_for(r));
    return reply->send(page->content_type(), page, [](void* source) {
        auto& page = *static_cast<metrics_page*>(source);
        const bool more = page.put_slice();
        return page.failed() ? progress::failed : more ? progress::more : progress::done;
    });
}

} // namespace llm
