#include "admin_call.h"

#include "core/base/bytes.h"
#include "core/base/chars.h"
#include "ngx/headers_in.h"

#include <algorithm>
#include <charconv>

namespace llm {

namespace {

// What the path has behind the location's name; `escaped` says whether it is as the client sent it. nginx
// takes "a%2Fb" for "a/b" and "a%2F%2Fb" for the same, and names of keys may have both: so the path is read
// as it was sent, unless the location is not seen in it, as after a rewrite.
std::string_view rest_of_path(ngx_http_request_t* r, bool& escaped)
{
    const auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    const std::string_view prefix = view(core->name);
    std::string_view path = view(r->unparsed_uri);
    path = path.substr(0, path.find_first_of("?#"));
    escaped = r->valid_unparsed_uri && path.starts_with(prefix);
    if (!escaped) {
        path = view(r->uri);
    }
    std::string_view rest = path.substr(std::min(prefix.size(), path.size()));
    if (!prefix.ends_with('/')) {
        // "/llm/admin" is not "/llm/administrator".
        if (!rest.empty() && rest[0] != '/') {
            return "?";
        }
        rest.remove_prefix(rest.empty() ? 0 : 1);
    }
    return rest;
}

std::string_view next_segment(std::string_view& rest)
{
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view segment = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return segment;
}

bool unescape(ngx_pool_t* pool, std::string_view escaped, std::string_view& to)
{
    auto* const text = static_cast<char*>(ngx_pnalloc(pool, escaped.size() + 1));
    if (!text) {
        return false;
    }
    char* p = text;
    for (size_t i = 0; i < escaped.size(); i++) {
        const bool is_escape =
            escaped[i] == '%' && i + 2 < escaped.size() && is_hex(escaped[i + 1]) && is_hex(escaped[i + 2]);
        *p++ = is_escape ? static_cast<char>(hex_value(escaped[i + 1]) << 4 | hex_value(escaped[i + 2]))
                         : escaped[i];
        i += is_escape ? 2 : 0;
    }
    to = {text, static_cast<size_t>(p - text)};
    return true;
}

struct row {
    std::string_view begin; // the first segment,
    size_t segments;        // of so many,
    std::string_view end;   // and the third
    admin_call::of what;
    ngx_uint_t methods;
    std::string_view allow;
};

constexpr ngx_uint_t reads = NGX_HTTP_GET | NGX_HTTP_HEAD;
constexpr row rows[] = {
    {"reload-keys", 1, "", admin_call::of::reload, NGX_HTTP_POST, "POST"},
    {"keys", 1, "", admin_call::of::keys, reads, "GET, HEAD"},
    {"keys", 2, "", admin_call::of::key, reads, "GET, HEAD"},
    {"keys", 3, "block", admin_call::of::block, NGX_HTTP_POST, "POST"},
    {"keys", 3, "unblock", admin_call::of::unblock, NGX_HTTP_POST, "POST"},
    {"keys", 3, "reset", admin_call::of::reset, NGX_HTTP_POST, "POST"},
    {"requests", 1, "", admin_call::of::requests, reads, "GET, HEAD"},
    {"requests", 2, "", admin_call::of::stop, NGX_HTTP_DELETE, "DELETE"},
};

uint64_t number_of(std::string_view text)
{
    uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    return error == std::errc() && end == text.data() + text.size() ? n : 0;
}

// What stands between the scheme and the end of an origin.
std::string_view host_of(std::string_view origin)
{
    const size_t at = origin.find("://");
    return at == std::string_view::npos ? std::string_view{} : origin.substr(at + 3);
}

bool same_host(std::string_view a, std::string_view b)
{
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return ascii_lower(x) == ascii_lower(y);
           });
}

} // namespace

bool read_call(ngx_http_request_t* r, admin_call& call)
{
    bool escaped = false;
    std::string_view rest = rest_of_path(r, escaped);
    std::string_view segments[3];
    size_t n = 0;
    while (!rest.empty()) {
        if (n == std::size(segments)) {
            return true;
        }
        segments[n++] = next_segment(rest);
    }
    for (const row& each : rows) {
        if (each.begin != segments[0] || each.segments != n || each.end != segments[2]) {
            continue;
        }
        call.what = each.what;
        call.allow = each.allow;
        call.is_allowed = (r->method & each.methods) != 0;
        call.serial = number_of(segments[1]);
        call.name = segments[1];
        return !escaped || unescape(r->pool, segments[1], call.name);
    }
    return true;
}

bool is_cross_site(ngx_http_request_t* r)
{
    const std::string_view own =
        r->headers_in.host ? view(r->headers_in.host->value) : view(r->headers_in.server);
    bool is = false;
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        const std::string_view value = view(header.value);
        if (lowcase_name(header) == "origin") {
            is = is || !same_host(host_of(value), own);
        } else if (lowcase_name(header) == "sec-fetch-site") {
            is = is || (value != "same-origin" && value != "none");
        }
    });
    return is;
}

} // namespace llm
