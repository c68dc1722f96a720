// What the functions that read directives have in common.
#pragma once

#include "ngx.hpp"

#include <new>

namespace llm {

inline char* conf_error()
{
    return static_cast<char*>(NGX_CONF_ERROR);
}

inline ngx_str_t* arguments(ngx_conf_t* cf)
{
    return static_cast<ngx_str_t*>(cf->args->elts);
}

// What stands behind "name=" in an argument; data is nullptr if it is another argument.
inline ngx_str_t option(const ngx_str_t& argument, std::string_view name)
{
    std::string_view text = view(argument);
    if (!text.starts_with(name)) {
        return {0, nullptr};
    }
    return to_ngx(text.substr(name.size()));
}

template <class T>
T* make(ngx_pool_t* pool)
{
    void* memory = ngx_pcalloc(pool, sizeof(T));
    return memory ? new (memory) T() : nullptr;
}

template <class T>
bool push(ngx_array_t& array, T value)
{
    auto* slot = static_cast<T*>(ngx_array_push(&array));
    if (slot) {
        *slot = value;
    }
    return slot != nullptr;
}

} // namespace llm
