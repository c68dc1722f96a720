#include "status_query.h"

#include <algorithm>

namespace llm {

namespace {

void read_number(std::string_view text, uint64_t& number)
{
    const ngx_int_t n = ngx_atoi(reinterpret_cast<u_char*>(const_cast<char*>(text.data())), text.size());
    if (!text.empty() && n != NGX_ERROR) {
        number = static_cast<uint64_t>(n);
    }
}

} // namespace

std::string_view argument_of(ngx_http_request_t* r, std::string_view name)
{
    ngx_str_t value = ngx_null_string;
    const ngx_int_t rc =
        ngx_http_arg(r, reinterpret_cast<u_char*>(const_cast<char*>(name.data())), name.size(), &value);
    return rc == NGX_OK ? view(value) : std::string_view{};
}

bool read_query(ngx_http_request_t* r, status_query& query)
{
    const std::string_view parts = argument_of(r, "view");
    query.view = parts == "live"   ? status_query::parts::live
                 : parts == "keys" ? status_query::parts::keys
                                   : status_query::parts::all;
    const std::string_view sort = argument_of(r, "sort");
    query.sort = sort == "requests" ? status_query::order::requests
                 : sort == "name"   ? status_query::order::name
                                    : status_query::order::tokens;
    read_number(argument_of(r, "limit"), query.limit);
    read_number(argument_of(r, "offset"), query.offset);
    query.limit = std::min(query.limit, status_query::max_limit);
    query.offset = std::min<uint64_t>(query.offset, UINT32_MAX);

    const std::string_view escaped = argument_of(r, "filter");
    if (escaped.empty()) {
        return true;
    }
    auto* const text = static_cast<u_char*>(ngx_pnalloc(r->pool, escaped.size()));
    if (!text) {
        return false;
    }
    // As forms escape: a plus is a blank.
    std::replace_copy(escaped.begin(), escaped.end(), text, '+', ' ');
    u_char* to = text;
    u_char* from = text;
    ngx_unescape_uri(&to, &from, escaped.size(), 0);
    query.filter = {reinterpret_cast<char*>(text), static_cast<size_t>(to - text)};
    return true;
}

} // namespace llm
