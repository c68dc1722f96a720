// llm_metrics: what the zones say about themselves, for Prometheus.

#include "metrics.h"

#include "conf.h"
#include "content.h"

#include "core/base/metric_text.h"

namespace llm {

namespace {

using metrics = metric_text<chain_writer>;

void put_build(metrics& out)
{
    out.begin_gauge("llm_build_info", "The version of nginx-llm.");
    out.sample({{"version", LLM_VERSION}}, 1);
}

// All bytes of a zone, each in one series.
void put_bytes(metrics& out, const zone_conf& zone)
{
    auto put = [&](std::string_view part, std::string_view state, size_t n) {
        out.sample({{"zone", view(zone.name)}, {"part", part}, {"state", state}}, n);
    };
    for (const area_bytes& part : parts_of(zone)) {
        put(part.name, "used", part.used);
        if (part.fills) {
            put(part.name, "free", part.free);
        }
    }
}

void put_keys(metrics& out, const zone_conf& zone, std::span<const file_entry> files)
{
    for (const file_entry& f : files) {
        out.sample({{"zone", view(zone.name)}, {"file", f.path}}, f.keys);
    }
}

} // namespace

ngx_int_t metrics_handler(ngx_http_request_t* r)
{
    ngx_int_t rc = begin_content(r);
    if (rc != NGX_OK) {
        return rc;
    }
    std::span<zone_conf*> zones = zones_of(*main_conf_of(r));
    chain_writer text(r->pool);
    metrics out(text);

    put_build(out);
    out.begin_gauge("llm_zone_bytes", "Bytes of a zone, by what they are for and whether they are in use.");
    for (const zone_conf* zone : zones) {
        put_bytes(out, *zone);
    }
    out.begin_gauge("llm_keys", "Keys in force, by zone and key file.");
    for (const zone_conf* zone : zones) {
        const auto files = files_of(*zone, r->pool);
        if (!files) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        put_keys(out, *zone, *files);
    }
    return send_content(r, text, metrics::content_type);
}

} // namespace llm
