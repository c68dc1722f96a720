// The client's key: where it may stand, and how it is taken away.

#include "credentials.h"

#include "headers_in.h"

#include "core/base/chars.h"
#include "keys/sha256.h"

namespace llm {

namespace {

// In their order: who asks is said by the first that has a key.
enum source { authorization, x_api_key, api_key, x_goog_api_key, none };

source source_of(const ngx_table_elt_t& header)
{
    std::string_view name = lowcase_name(header);
    switch (name.size()) {
    case 13:
        return name == "authorization" ? authorization : none;
    case 14:
        return name == "x-goog-api-key" ? x_goog_api_key : none;
    case 9:
        return name == "x-api-key" ? x_api_key : none;
    case 7:
        return name == "api-key" ? api_key : none;
    default:
        return none;
    }
}

std::string_view trim(std::string_view s)
{
    while (!s.empty() && is_blank(s.front())) {
        s.remove_prefix(1);
    }
    while (!s.empty() && is_blank(s.back())) {
        s.remove_suffix(1);
    }
    return s;
}

// Past "Bearer" and a blank, if the value begins so.
std::string_view without_scheme(std::string_view value)
{
    constexpr std::string_view scheme = "bearer";
    if (value.size() < scheme.size() || (value.size() > scheme.size() && !is_blank(value[scheme.size()]))) {
        return value;
    }
    for (size_t i = 0; i < scheme.size(); i++) {
        if (ascii_lower(value[i]) != scheme[i]) {
            return value;
        }
    }
    return trim(value.substr(scheme.size()));
}

// The key in a header's value; empty if there is none, as in "Basic dXNlcg==".
std::string_view key_in(source from, std::string_view value)
{
    value = trim(value);
    if (from == authorization) {
        value = without_scheme(value);
    }
    bool is_word = value.find(' ') == std::string_view::npos && value.find('\t') == std::string_view::npos;
    return is_word ? value : std::string_view{};
}

// What is in Authorization and no key belongs to somebody else: auth_basic, for example.
bool may_be_key(source from, std::string_view key)
{
    return from != authorization || !key.empty();
}

constexpr ngx_uint_t hash_of(std::string_view lowcase)
{
    ngx_uint_t hash = 0;
    for (char c : lowcase) {
        hash = ngx_hash(hash, static_cast<u_char>(c));
    }
    return hash;
}

// A header cannot be taken out of nginx's list, into which others point. It is made one that proxy_pass and
// its like never pass on, and it loses its value.
void hide(ngx_table_elt_t& header)
{
    static constexpr std::string_view name = "Keep-Alive", lowcase = "keep-alive";
    constexpr ngx_uint_t hash = hash_of(lowcase);
    header.key = to_ngx(name);
    header.lowcase_key = reinterpret_cast<u_char*>(const_cast<char*>(lowcase.data()));
    header.hash = hash;
    header.value = ngx_null_string;
}

} // namespace

// Every header that may carry a key is taken out, whichever counts: Authorization before x-api-key before
// api-key before x-goog-api-key. What is not a key (Authorization: Basic) stays. False if the digest could
// not be made.
bool take_credential(ngx_http_request_t* r, request_ctx& ctx)
{
    std::string_view keys[none] = {};
    each_header_in(r, [&](ngx_table_elt_t& header) {
        source from = source_of(header);
        if (from == none) {
            return;
        }
        std::string_view key = key_in(from, view(header.value));
        if (!may_be_key(from, key)) {
            return;
        }
        if (keys[from].empty()) {
            keys[from] = key;
        }
        if (from == authorization) {
            r->headers_in.authorization = nullptr;
        }
        hide(header);
    });

    for (int from = authorization; from < none; from++) {
        if (!keys[from].empty()) {
            ctx.step = request_step::keyed;
            return sha256(keys[from], ctx.credential);
        }
    }
    ctx.step = request_step::keyless;
    return true;
}

// $http_authorization, $http_x_api_key, $http_api_key and $http_x_goog_api_key, which `data` is the name of
// without $http_, in lower case. Where keys are in force they do not show what may be one, at whatever time
// they are asked: take_credential() comes too late for a request that ends before the access phase, and for a
// value that was asked for before it.
ngx_int_t key_header_variable(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t data)
{
    const auto& name = *reinterpret_cast<const std::string_view*>(data);
    bool hides = location_conf_of(r)->keys != nullptr;
    v->not_found = 1;
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (!v->not_found || lowcase_name(header) != name) {
            return;
        }
        source from = source_of(header);
        if (hides && may_be_key(from, key_in(from, view(header.value)))) {
            return;
        }
        v->data = header.value.data;
        v->len = static_cast<unsigned>(header.value.len);
        v->valid = 1;
        v->no_cacheable = 0;
        v->not_found = 0;
    });
    return NGX_OK;
}

} // namespace llm
