// The client's key: where it may stand, and how it is taken away.

#include "credentials.h"

#include "headers_in.h"

#include "core/base/chars.h"
#include "keys/key_file.h"
#include "keys/sha256.h"

#include <algorithm>
#include <iterator>
#include <optional>

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

// Whether the value's first word is this one, which is in lower case. Its end tells most others apart.
bool has_scheme(std::string_view value, std::string_view scheme)
{
    const size_t n = scheme.size();
    return value.size() >= n && (value[n - 1] | 0x20) == scheme[n - 1]
           && (value.size() == n || is_blank(value[n])) && same_without_case(value.substr(0, n), scheme);
}

// The key in a header's value; empty if there is none, or it is not in one of the forms that are taken.
std::string_view key_in(source from, std::string_view value)
{
    constexpr std::string_view scheme = "bearer";
    value = trim(value);
    if (from == authorization && has_scheme(value, scheme)) {
        value = trim(value.substr(scheme.size()));
    }
    const bool has_blank = value.find(' ') != value.npos || value.find('\t') != value.npos;
    return has_blank ? std::string_view{} : value;
}

// What belongs to somebody else, such as auth_basic. All else may hold a key, though not in the form that is
// taken, as in "Token K", "Bearer: K" or "Bearer Bearer K": clients get that wrong.
bool may_hold_key(source from, std::string_view value)
{
    constexpr std::string_view others[] = {"basic", "digest", "negotiate"};
    value = trim(value);
    return from != authorization || std::none_of(std::begin(others), std::end(others), [&](auto scheme) {
               return has_scheme(value, scheme);
           });
}

constexpr ngx_uint_t hash_of(std::string_view lowcase)
{
    ngx_uint_t hash = 0;
    for (char c : lowcase) {
        hash = ngx_hash(hash, static_cast<u_char>(c));
    }
    return hash;
}

// The bytes are the request's own. They would stay in the worker's memory for as long as its buffer does.
void wipe(const ngx_str_t& value)
{
    if (value.len != 0) {
        explicit_bzero(value.data, value.len);
    }
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

// nginx refuses a second Authorization too, but would write both into its error log.
ngx_int_t take_one_authorization(ngx_http_request_t* r, ngx_table_elt_t* header, ngx_uint_t)
{
    if (!r->headers_in.authorization) {
        r->headers_in.authorization = header;
        return NGX_OK;
    }
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "client sent duplicate header line: \"Authorization\"");
    ngx_http_finalize_request(r, NGX_HTTP_BAD_REQUEST);
    return NGX_ERROR;
}

// The entry of nginx's table of headers, which this cycle has to itself, but not what it points to.
ngx_hash_elt_t* entry_of(const ngx_hash_t& hash, std::string_view lowcase)
{
    ngx_hash_elt_t* entry = hash.buckets[hash_of(lowcase) % hash.size];
    while (entry && entry->value) {
        if (std::string_view(reinterpret_cast<char*>(entry->name), entry->len) == lowcase) {
            return entry;
        }
        entry = reinterpret_cast<ngx_hash_elt_t*>(ngx_align_ptr(entry->name + entry->len, sizeof(void*)));
    }
    return nullptr;
}

} // namespace

ngx_int_t install_credential_reader(ngx_conf_t* cf)
{
    static ngx_http_header_t authorization_header = {
        ngx_string("Authorization"), offsetof(ngx_http_headers_in_t, authorization), take_one_authorization};
    auto* core =
        static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    ngx_hash_elt_t* entry = entry_of(core->headers_in_hash, "authorization");
    if (!entry) {
        return NGX_ERROR;
    }
    entry->value = &authorization_header;
    return NGX_OK;
}

bool may_need_key(ngx_http_request_t* r)
{
    auto* server =
        static_cast<ngx_http_core_srv_conf_t*>(ngx_http_get_module_srv_conf(r, ngx_http_core_module));
    return location_conf_of(r)->keys
           || (r->loc_conf == server->ctx->loc_conf && main_conf_of(r)->sources.nelts != 0);
}

// Every header that may carry a key is taken out, whichever counts: Authorization before x-api-key before
// api-key before x-goog-api-key. False if the digest could not be made.
bool take_credential(ngx_http_request_t* r, request_ctx& ctx)
{
    std::string_view keys[none] = {};
    ngx_str_t values[none] = {}; // that these are in
    ngx_table_elt_t* left = nullptr;
    each_header_in(r, [&](ngx_table_elt_t& header) {
        source from = source_of(header);
        if (from == none) {
            return;
        }
        if (!may_hold_key(from, view(header.value))) {
            left = left ? left : &header;
            return;
        }
        const std::string_view key =
            keys[from].empty() ? key_in(from, view(header.value)) : std::string_view();
        ctx.misspelt_key |= keys[from].empty() && key.empty() && !trim(view(header.value)).empty();
        if (key.empty()) {
            wipe(header.value);
        } else {
            keys[from] = key;
            values[from] = header.value;
        }
        hide(header);
    });
    r->headers_in.authorization = left;

    ctx.step = request_step::keyless;
    bool made = true;
    for (int from = authorization; from < none; from++) {
        if (!keys[from].empty() && ctx.step == request_step::keyless) {
            ctx.step = request_step::keyed;
            made = sha256(keys[from], ctx.credential);
        }
        wipe(values[from]);
    }
    return made;
}

namespace {

// The name that the location gives; empty if it gives none.
bool read_identity(ngx_http_request_t* r, ngx_str_t& name)
{
    ngx_http_complex_value_t* identity = location_conf_of(r)->identity;
    return !identity || ngx_http_complex_value(r, identity, &name) == NGX_OK;
}

// The key's digest by its name; nothing if the location gives none.
bool look_at_identity(ngx_http_request_t* r, std::optional<digest>& found)
{
    ngx_str_t name = ngx_null_string;
    return read_identity(r, name) && (name.len == 0 || name_digest(view(name), found.emplace()));
}

} // namespace

bool take_identity(ngx_http_request_t* r, request_ctx& ctx)
{
    std::optional<digest> found;
    if (!look_at_identity(r, found)) {
        return false;
    }
    ctx.by_name = found.has_value();
    if (!found) {
        ctx.step = request_step::keyless;
    } else {
        ctx.credential = *found;
        ctx.step = std::max(ctx.step, request_step::keyed);
    }
    return true;
}

bool has_identity(ngx_http_request_t* r)
{
    ngx_str_t name = ngx_null_string;
    return read_identity(r, name) && name.len != 0;
}

bool is_same_here(ngx_http_request_t* r, const request_ctx& ctx)
{
    std::optional<digest> found;
    return look_at_identity(r, found) && found == ctx.credential;
}

// $http_authorization, $http_x_api_key, $http_api_key and $http_x_goog_api_key, which `data` is the name of
// without $http_, in lower case. Where keys are in force they do not show what may be one, at whatever time
// they are asked: take_credential() comes too late for a request that ends before the access phase, and for a
// value that was asked for before it.
ngx_int_t key_header_variable(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t data)
{
    const auto& name = *reinterpret_cast<const std::string_view*>(data);
    bool hides = may_need_key(r);
    v->not_found = 1;
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (!v->not_found || lowcase_name(header) != name) {
            return;
        }
        if (hides && may_hold_key(source_of(header), view(header.value))) {
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
