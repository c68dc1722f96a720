// The access phase: key, body, decision, lease.
//
//   no context -> the key is taken out of the headers
//      -> check the key (a refusal here leaves the body unread)
//      -> body to read? yes: nginx reads it, request_body.cpp looks on, and the phase is run again
//      -> admit: the key again, since it may have been revoked meanwhile, the model, and the lease, all in
//      one step
//   an internal redirect comes back with a context: it needs no second lease, but the key file of its new
//   location has its say

#include "owner.h"
#include "request.h"

#include "core/hash.h"

namespace llm {

namespace {

// The client's address in network order, behind realip. Empty for a unix socket: no network has it.
std::span<const uint8_t> address_of(ngx_http_request_t* r)
{
    sockaddr* address = r->connection->sockaddr;
    if (address->sa_family == AF_INET) {
        return {reinterpret_cast<uint8_t*>(&reinterpret_cast<sockaddr_in*>(address)->sin_addr), 4};
    }
#if (NGX_HAVE_INET6)
    if (address->sa_family == AF_INET6) {
        return {reinterpret_cast<uint8_t*>(&reinterpret_cast<sockaddr_in6*>(address)->sin6_addr), 16};
    }
#endif
    return {};
}

refusal refusal_of(verdict v)
{
    switch (v) {
    case verdict::ok:
        return refusal::none;
    case verdict::no_such_file:
        return refusal::reloading;
    case verdict::unknown:
        return refusal::invalid_key;
    case verdict::disabled:
        return refusal::disabled;
    case verdict::expired:
        return refusal::expired;
    case verdict::network:
        return refusal::network;
    case verdict::model:
        return refusal::model;
    case verdict::zone_full:
        return refusal::zone_full;
    }
    return refusal::internal;
}

// Copies who asks: the table may be replaced while the request runs.
refusal check_key(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    char name[max_name], user[max_name];
    size_t name_len = 0, user_len = 0;
    verdict said;
    {
        zone_session session(*source.zone);
        shared_key* key = nullptr;
        key_table* keys = session->keys();
        said = keys ? keys->check(source.id, ctx.key, address_of(r), ngx_time(), key) : verdict::no_such_file;
        if (key) {
            name_len = key->name.view().copy(name, sizeof name);
            user_len = key->user.view().copy(user, sizeof user);
        }
    }
    if (name_len && view(ctx.key_name) != std::string_view(name, name_len)) {
        ctx.key_name = copy_text(r->pool, {name, name_len});
        ctx.user = copy_text(r->pool, {user, user_len});
        if (!ctx.key_name.data || !ctx.user.data) {
            return refusal::internal;
        }
    }
    return refusal_of(said);
}

int64_t wall_clock_ms()
{
    ngx_time_t* now = ngx_timeofday();
    return int64_t{now->sec} * 1000 + static_cast<int64_t>(now->msec);
}

admission_request describe(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source)
{
    return {.file = source.id,
            .key = ctx.key,
            .address = address_of(r),
            .asks_model = ctx.has_body,
            .named_model = ctx.named_model,
            .model = view(ctx.model),
            .stream = ctx.stream,
            .owner = source.zone->owner,
            .now_ms = wall_clock_ms()};
}

refusal admit(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    zone_conf& zone = *source.zone;
    if (owner_number(zone) == no_index) {
        return refusal::zone_full;
    }
    // Before the lease, so that no lease is without somebody to settle it.
    if (!ctx.zone && !settle_at_end(r)) {
        return refusal::internal;
    }
    ctx.zone = &zone;

    admission_request request = describe(r, ctx, source);
    zone_session session(zone);
    admission_result result = session->admit(request);
    ctx.held = result.taken;
    return refusal_of(result.said);
}

// A request that holds its lease came to another location by an internal redirect.
refusal check_again(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    admission_request request = describe(r, ctx, source);
    zone_session session(*source.zone);
    return refusal_of(session->check(request));
}

std::string_view text_of(body_fault fault)
{
    switch (fault) {
    case body_fault::none:
        break;
    case body_fault::not_an_object:
        return "it is not a JSON object in UTF-8 without a byte order mark";
    case body_fault::syntax:
        return "it is not valid JSON";
    case body_fault::too_deep:
        return "it is nested too deeply";
    case body_fault::duplicate_field:
        return "a field stands twice at its top level";
    case body_fault::ambiguous_model:
        return "the field \"model\" is spelled in another case";
    case body_fault::bad_model:
        return "\"model\" is not a string, or is too long";
    }
    return "it can not be read";
}

// It may have been refused in the location that it was redirected from.
ngx_int_t let_in(request_ctx& ctx, const key_source& source)
{
    ctx.admitted_by = &source;
    ctx.refused = refusal::none;
    ctx.ended = outcome::unknown;
    return NGX_OK;
}

ngx_int_t decide(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    if (ctx.fault != body_fault::none) {
        return refuse(r, ctx, refusal::bad_request, text_of(ctx.fault));
    }
    refusal why = admit(r, ctx, source);
    if (why != refusal::none) {
        if (why == refusal::zone_full) {
            ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0, "llm_zone \"%V\" is full: request refused",
                          &source.zone->name);
        }
        if (why == refusal::model && ctx.unread_form) {
            return refuse(r, ctx, refusal::bad_request,
                          "the model of a form is not looked at, and this key may use certain models only");
        }
        if (why == refusal::model && !ctx.named_model) {
            return refuse(r, ctx, refusal::no_model);
        }
        return refuse(r, ctx, why, view(ctx.model));
    }
    return let_in(ctx, source);
}

} // namespace

ngx_int_t access_handler(ngx_http_request_t* r)
{
    const key_source* source = location_conf_of(r)->keys;
    if (!source || r != r->main) {
        return NGX_DECLINED;
    }

    bool known = find_request(r) != nullptr;
    request_ctx* ctx = find_or_make_request(r);
    if (!ctx) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ctx->reading_body) {
        return NGX_DONE;
    }
    if (ctx->held) {
        if (ctx->admitted_by == source) {
            return NGX_OK;
        }
        refusal why = check_again(r, *ctx, *source);
        if (why != refusal::none) {
            return refuse(r, *ctx, why, view(ctx->model));
        }
        return let_in(*ctx, *source);
    }

    if (!known && !take_credential(r, *ctx)) {
        return refuse(r, *ctx, refusal::internal);
    }
    if (!ctx->has_key) {
        return refuse(r, *ctx, refusal::no_key);
    }
    if (!ctx->body_read) {
        refusal why = check_key(r, *ctx, *source);
        if (why == refusal::none) {
            why = check_coding(r);
        }
        if (why != refusal::none) {
            return refuse(r, *ctx, why);
        }
        ngx_int_t rc = read_body(r, *ctx);
        if (rc != NGX_OK) {
            return rc;
        }
    }
    return decide(r, *ctx, *source);
}

} // namespace llm
