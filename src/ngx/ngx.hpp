// nginx's headers. They are C: without the block everything compiles, but the module would not load.
#pragma once

extern "C" {
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

extern ngx_module_t ngx_http_llm_module;
}

#include <string_view>

namespace llm {

inline std::string_view view(const ngx_str_t& s)
{
    return {reinterpret_cast<const char*>(s.data), s.len};
}

inline ngx_str_t to_ngx(std::string_view s)
{
    return {s.size(), reinterpret_cast<u_char*>(const_cast<char*>(s.data()))};
}

// A copy of the text in the pool; data is nullptr if there is no memory.
inline ngx_str_t copy_text(ngx_pool_t* pool, std::string_view s)
{
    auto* data = static_cast<u_char*>(ngx_pnalloc(pool, s.size() + 1));
    if (data) {
        ngx_memcpy(data, s.data(), s.size());
        data[s.size()] = '\0';
    }
    return {data ? s.size() : 0, data};
}

} // namespace llm
