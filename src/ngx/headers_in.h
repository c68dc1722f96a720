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

// Whether a Content-Type is that of JSON, in no other charset than JSON's.
inline bool is_utf8_json(std::string_view type)
{
    const auto trimmed = [](std::string_view text) {
        while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
            text.remove_prefix(1);
        }
        while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
            text.remove_suffix(1);
        }
        return text;
    };
    const size_t end = type.find(';');
    const std::string_view rest =
        end == std::string_view::npos ? std::string_view() : trimmed(type.substr(end + 1));
    return same_without_case(trimmed(type.substr(0, end)), "application/json")
           && (rest.empty() || same_without_case(rest, "charset=utf-8")
               || same_without_case(rest, "charset=\"utf-8\""));
}

} // namespace llm
