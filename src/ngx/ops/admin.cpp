// llm_admin: what operators ask for, and do, while nginx runs. docs/admin.md

#include "admin.h"

#include "admin_act.h"
#include "admin_call.h"
#include "admin_error.h"
#include "admin_reload.h"
#include "json_writer.h"
#include "sliced_reply.h"
#include "status_book.h"
#include "status_keys.h"
#include "status_query.h"
#include "status_running.h"

#include "ngx/clock.h"
#include "ngx/conf.h"
#include "ngx/content.h"
#include "ngx/limit_headers.h"

#include <new>

namespace llm {

namespace {

// For a mean: the last one is not over yet.
constexpr uint64_t seconds_of_rates = 11;
constexpr std::string_view json_type = "application/json";

ngx_int_t no_such_key(ngx_http_request_t* r)
{
    return send_admin_error(r, NGX_HTTP_NOT_FOUND, "no_such_key", "There is no key of this name.");
}

ngx_int_t no_memory()
{
    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}

// An object around what comes in slices. Lives in the request's pool.
struct keys_answer {
    keys_answer(ngx_http_request_t* r, const zone_conf& zone, const status_query& asked, chain_writer& to)
        : query(asked), text(to), out(to), list(*main_conf_of(r), zone, query, r->pool)
    {
        out.begin_object();
    }

    status_query query;
    chain_writer& text;
    json_writer out;
    key_list list;
};

struct requests_answer {
    requests_answer(const zone_conf& of, chain_writer& to) : zone(of), text(to), out(to)
    {
        out.begin_object();
        out.field("now_ms", static_cast<uint64_t>(wall_clock_ms()));
        put_rates(out, zone, seconds_of_rates);
        out.name("requests");
    }

    const zone_conf& zone;
    chain_writer& text;
    json_writer out;
    running_list list{};
};

template <class Answer>
progress end_answer(Answer& answer, progress is)
{
    if (is == progress::done) {
        answer.out.end_object();
        answer.text.put("\n");
    }
    return is;
}

ngx_int_t send_keys(ngx_http_request_t* r, const zone_conf& zone)
{
    status_query query;
    sliced_reply* reply = sliced_reply::make(r);
    void* memory = ngx_palloc(r->pool, sizeof(keys_answer));
    if (!read_query(r, query) || !reply || !memory) {
        return no_memory();
    }
    return reply->send(json_type, new (memory) keys_answer(r, zone, query, reply->out()), [](void* source) {
        auto& answer = *static_cast<keys_answer*>(source);
        return end_answer(answer, answer.list.put_slice(answer.out));
    });
}

ngx_int_t send_key(ngx_http_request_t* r, const zone_conf& zone, std::string_view name)
{
    chain_writer text(r->pool);
    json_writer out(text);
    switch (put_one_key(out, *main_conf_of(r), zone, name, r->pool)) {
    case key_put::done:
        break;
    case key_put::unknown:
        return no_such_key(r);
    case key_put::no_memory:
        return no_memory();
    }
    text.put("\n");
    return send_content(r, text, json_type);
}

ngx_int_t send_requests(ngx_http_request_t* r, const zone_conf& zone)
{
    sliced_reply* reply = sliced_reply::make(r);
    void* memory = ngx_palloc(r->pool, sizeof(requests_answer));
    if (!reply || !memory) {
        return no_memory();
    }
    return reply->send(json_type, new (memory) requests_answer(zone, reply->out()), [](void* source) {
        auto& answer = *static_cast<requests_answer*>(source);
        return end_answer(answer, answer.list.put_slice(answer.out, answer.zone));
    });
}

ngx_int_t reset(ngx_http_request_t* r, const zone_conf& zone, std::string_view name)
{
    const std::string_view what = argument_of(r, "what");
    if (what == "quota") {
        reset_key(r, zone, name, shared_state::forget::quotas);
    } else if (what == "rates") {
        reset_key(r, zone, name, shared_state::forget::rates);
    } else if (what.empty()) {
        reset_key(r, zone, name, shared_state::forget::both);
    } else {
        return send_admin_error(r, NGX_HTTP_BAD_REQUEST, "bad_argument",
                                "\"what\" is none of quota and rates. Without it both are reset.");
    }
    return send_key(r, zone, name);
}

ngx_int_t stop(ngx_http_request_t* r, const zone_conf& zone, uint64_t serial)
{
    if (serial == 0) {
        return send_admin_error(r, NGX_HTTP_BAD_REQUEST, "bad_serial",
                                "A request is named by its serial, a number.");
    }
    if (!stop_request(r, zone, serial)) {
        return send_admin_error(r, NGX_HTTP_NOT_FOUND, "no_such_request",
                                "No request of this serial is in flight.");
    }
    chain_writer text(r->pool);
    json_writer out(text);
    out.begin_object();
    out.field("serial", serial);
    out.flag("stopping", true);
    out.end_object();
    text.put("\n");
    // Its own worker ends it, in a moment.
    return send_content(r, text, json_type, NGX_HTTP_ACCEPTED);
}

ngx_int_t carry_out(ngx_http_request_t* r, const zone_conf& zone, const admin_call& call)
{
    using of = admin_call::of;
    switch (call.what) {
    case of::keys:
        return send_keys(r, zone);
    case of::key:
        return send_key(r, zone, call.name);
    case of::requests:
        return send_requests(r, zone);
    case of::stop:
        return stop(r, zone, call.serial);
    case of::block:
    case of::unblock:
    case of::reset:
        if (!key_exists(zone, call.name)) {
            return no_such_key(r);
        }
        break;
    case of::reload:
        return reload_keys(r, zone);
    case of::nothing:
        return send_admin_error(r, NGX_HTTP_NOT_FOUND, "no_such_path", "There is no such path here.");
    }
    if (call.what == of::reset) {
        return reset(r, zone, call.name);
    }
    if (call.what == of::unblock) {
        unblock_key(r, zone, call.name);
    } else if (!block_key(r, zone, call.name)) {
        return send_admin_error(r, NGX_HTTP_SERVICE_UNAVAILABLE, "zone_full",
                                "The zone has no room for the key.");
    }
    return send_key(r, zone, call.name);
}

} // namespace

ngx_int_t admin_handler(ngx_http_request_t* r)
{
    const zone_ref* admin = location_conf_of(r)->admin;
    // Only main requests have passed the access rules of this location.
    if (!admin || r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }
    const ngx_int_t rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }
    admin_call call;
    // It is of the moment, and nobody else's.
    if (!read_call(r, call) || !add_header_out(r, "Cache-Control", to_ngx("no-store"))
        || !add_header_out(r, "X-Content-Type-Options", to_ngx("nosniff"))) {
        return no_memory();
    }
    if (call.what != admin_call::of::nothing && !call.is_allowed) {
        if (!add_header_out(r, "Allow", to_ngx(call.allow))) {
            return no_memory();
        }
        return send_admin_error(r, NGX_HTTP_NOT_ALLOWED, "method_not_allowed",
                                "This path has other methods.");
    }
    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) && is_cross_site(r)) {
        return send_admin_error(r, NGX_HTTP_FORBIDDEN, "cross_site",
                                "A page of another site has sent this: it does nothing.");
    }
    return carry_out(r, *admin->zone, call);
}

} // namespace llm
