// llm_models: what clients may ask for, in the shape of the API that they speak.

#include "models.h"

#include "json_writer.h"

#include "core/api/model_table.h"
#include "ngx/content.h"
#include "ngx/error_reply.h"
#include "ngx/headers_in.h"
#include "ngx/key_check.h"
#include "ngx/model_conf.h"
#include "ngx/request.h"
#include "ngx/zone.h"

#include <algorithm>
#include <span>

namespace llm {

namespace {

// Rows that are compared with a key's list with the zone locked once.
constexpr size_t slice = 16;

// When a model was made is not known, but clients want a time.
constexpr uint64_t some_time = 1735689600;
constexpr std::string_view same_time = "2025-01-01T00:00:00Z";

// Those names of the table that the key may use. Patterns name none. False if there is no memory.
bool find_names(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source,
                const model_level& level, std::span<std::string_view>& found)
{
    const std::span<const model_row> rows = level.table.rows();
    auto* names = static_cast<std::string_view*>(ngx_palloc(r->pool, rows.size() * sizeof(std::string_view)));
    if (!names) {
        return false;
    }
    size_t n = 0;
    for (size_t at = 0; at < rows.size(); at += slice) {
        zone_session session(*source.zone);
        const shared_key* key = present_key(session, source, ctx);
        for (const model_row& row : rows.subspan(at, std::min(slice, rows.size() - at))) {
            if (key && !row.is_prefix && key->policy->allows_model(row.name)) {
                names[n++] = row.name;
            }
        }
    }
    found = {names, n};
    return true;
}

// How a list is written.
enum class shape { openai, anthropic, ollama };

shape shape_of(ngx_http_request_t* r)
{
    if (asked_api(r) == api::ollama) {
        return shape::ollama;
    }
    bool has_version = false;
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        has_version = has_version || lowcase_name(header) == "anthropic-version";
    });
    return has_version || asked_api(r) == api::anthropic ? shape::anthropic : shape::openai;
}

void put_model(json_writer& out, shape as, std::string_view name)
{
    out.begin_object();
    switch (as) {
    case shape::openai:
        out.field("id", name);
        out.field("object", "model");
        out.field("created", some_time);
        out.field("owned_by", "nginx-llm");
        break;
    case shape::anthropic:
        out.field("type", "model");
        out.field("id", name);
        out.field("display_name", name);
        out.field("created_at", same_time);
        break;
    case shape::ollama:
        out.field("name", name);
        out.field("model", name);
        out.field("modified_at", same_time);
        out.field("size", uint64_t{0});
        out.field("digest", "");
        out.name("details");
        out.begin_object();
        for (const std::string_view of :
             {"parent_model", "format", "family", "parameter_size", "quantization_level"}) {
            out.field(of, "");
        }
        out.null("families");
        out.end_object();
        break;
    }
    out.end_object();
}

void put_list(json_writer& out, shape as, std::span<const std::string_view> names)
{
    out.begin_object();
    if (as == shape::openai) {
        out.field("object", "list");
    }
    out.name(as == shape::ollama ? "models" : "data");
    out.begin_array();
    for (const std::string_view name : names) {
        put_model(out, as, name);
    }
    out.end_array();
    if (as == shape::anthropic) {
        out.flag("has_more", false);
        for (const bool first : {true, false}) {
            const std::string_view of = first ? "first_id" : "last_id";
            if (names.empty()) {
                out.null(of);
            } else {
                out.field(of, first ? names.front() : names.back());
            }
        }
    }
    out.end_object();
}

// What follows "/models/" in the path: one model is asked for. Its name may have slashes of its own.
std::string_view wanted_model(ngx_http_request_t* r)
{
    constexpr std::string_view before = "/models/";
    const std::string_view path = view(r->uri);
    const size_t at = path.find(before);
    return at == std::string_view::npos ? std::string_view() : path.substr(at + before.size());
}

} // namespace

ngx_int_t models_handler(ngx_http_request_t* r)
{
    ngx_int_t rc = begin_content(r);
    if (rc != NGX_OK) {
        return rc;
    }
    const location_conf& here = *location_conf_of(r);
    const request_ctx* ctx = find_request(r);
    // Only the access phase knows whose key it is; a subrequest has none.
    if (!here.keys || !here.models || !ctx || ctx->names.key.len == 0) {
        return NGX_HTTP_FORBIDDEN;
    }
    std::span<std::string_view> names;
    if (!find_names(r, *ctx, *here.keys, *here.models, names)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    const std::string_view wanted = wanted_model(r);
    if (!wanted.empty() && std::find(names.begin(), names.end(), wanted) == names.end()) {
        return send_error(r, answer_of(refusal::model), wanted);
    }
    chain_writer text(r->pool);
    json_writer out(text);
    if (wanted.empty()) {
        put_list(out, shape_of(r), names);
    } else {
        put_model(out, shape_of(r), wanted);
    }
    text.put("\n");
    return send_content(r, text, "application/json");
}

} // namespace llm
