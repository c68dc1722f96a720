#include "request_head.h"

#include "request_body.h"

#include "core/base/chars.h"

#include <algorithm>

namespace llm {

namespace {

// Whether a server that is sent the path as it came may read another model in it than nginx has, or that it
// is for one or for requests within it at all: an escaped slash, dots, what nginx takes for a fragment.
bool may_name_another_model(ngx_http_request_t* r, const request_ctx& ctx)
{
    std::string_view raw = view(r->unparsed_uri);
    if (raw == view(r->uri) || !r->valid_unparsed_uri) {
        return false;
    }
    if (raw.find('#') != std::string_view::npos) {
        return true;
    }
    raw = raw.substr(0, raw.find('?'));
    if (raw == view(r->uri)) {
        return false;
    }
    auto* room = static_cast<u_char*>(ngx_pnalloc(r->pool, raw.size()));
    if (!room) {
        return true;
    }
    const auto decode = [room](std::string_view text) -> std::string_view {
        ngx_str_t from = to_ngx(text);
        u_char* end = room;
        ngx_unescape_uri(&end, &from.data, from.len, 0);
        return {reinterpret_cast<char*>(room), static_cast<size_t>(end - room)};
    };
    const api_call call = call_by_path(r, decode(raw));
    if (call.model != ctx.call.model || call.needs_model != ctx.call.needs_model
        || call.hidden != ctx.call.hidden) {
        return true;
    }
    // To a server that looks for the name first and decodes it then.
    const std::string_view escaped = call_by_path(r, raw).model;
    return !escaped.empty() && decode(escaped) != ctx.call.model;
}

} // namespace

// Servers differ in what a control character in a path is to them, as regular expressions do: some take
// "/v1/chat/completions%0a" for the path without it.
refusal check_head(ngx_http_request_t* r, const request_ctx& ctx)
{
    std::string_view path = view(r->uri);
    if (has_control(path) || may_name_another_model(r, ctx) || !ctx.call.is_whole) {
        return refusal::bad_path;
    }
    const location_conf& lcf = *location_conf_of(r);
    if (asks_websocket(r) && !lcf.websocket) {
        return refusal::websocket;
    }
    return lcf.reads_body ? check_coding(r) : refusal::none;
}

} // namespace llm
