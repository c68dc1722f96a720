// A walk over headers that came in.
#pragma once

#include "ngx.hpp"

namespace llm {

template <class F>
void each_header(ngx_list_t& list, F&& f)
{
    for (ngx_list_part_t* part = &list.part; part; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            f(headers[i]);
        }
    }
}

// Those that the client sent.
template <class F>
void each_header_in(ngx_http_request_t* r, F&& f)
{
    each_header(r->headers_in.headers, f);
}

inline std::string_view lowcase_name(const ngx_table_elt_t& header)
{
    return {reinterpret_cast<const char*>(header.lowcase_key), header.key.len};
}

// True if `text` is `lowcase`, in any case.
inline bool same_without_case(std::string_view text, std::string_view lowcase)
{
    return text.size() == lowcase.size()
           && ngx_strncasecmp(reinterpret_cast<u_char*>(const_cast<char*>(text.data())),
                              reinterpret_cast<u_char*>(const_cast<char*>(lowcase.data())), text.size())
                  == 0;
}

} // namespace llm
