#include "admin_act.h"

#include "core/base/json_text.h"
#include "core/base/utf8.h"
#include "ngx/clock.h"
#include "ngx/request.h"

namespace llm {

namespace {

// Leases that are looked at with the zone locked once.
constexpr uint32_t slice = 64;

// Text for a line of the log, in its quotes: what it has of quotes and control characters is escaped, what is
// not UTF-8 becomes "?".
ngx_str_t quoted(ngx_pool_t* pool, std::string_view text)
{
    auto* to = static_cast<char*>(ngx_pnalloc(pool, 6 * text.size() + 2));
    if (!to) {
        return ngx_string("\"?\"");
    }
    const size_t size = write_json_text(text, to + 1);
    to[0] = to[size + 1] = '"';
    return to_ngx({to, size + 2});
}

// By its key, else as nginx knows it: a name that no rule of the location has checked is the client's own
// claim.
void log_act(ngx_http_request_t* r, const char* did, const char* kind_of_thing, ngx_str_t thing,
             const char* more)
{
    const request_ctx* ctx = find_request(r);
    ngx_str_t who = ngx_string("nobody known");
    const char* kind = "";
    if (ctx && ctx->names.is_admin) {
        kind = "key ";
        who = quoted(r->pool, view(ctx->names.key));
    } else if (ngx_http_auth_basic_user(r) == NGX_OK && r->headers_in.user.len != 0) {
        kind = "user ";
        who = quoted(r->pool, view(r->headers_in.user));
    }
    ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0, "llm_admin: %s %s%V by %s%V%s", did, kind_of_thing,
                  &thing, kind, &who, more);
}

void log_of_key(ngx_http_request_t* r, const char* did, std::string_view name, const char* more = "")
{
    log_act(r, did, "key ", quoted(r->pool, name), more);
}

// Calls f(session, lease, place) for those that run.
template <class F>
void each_running(const zone_conf& zone, F&& f)
{
    const uint32_t end = zone.state->leases().high_water();
    for (uint32_t at = 0; at < end;) {
        zone_session session(zone);
        for (uint32_t looked = 0; looked < slice && at < end; looked++, at++) {
            const lease& l = session->leases().at(at);
            if (lease::is_counted(l.is)) {
                f(session, l, at);
            }
        }
    }
}

} // namespace

bool block_key(ngx_http_request_t* r, const zone_conf& zone, std::string_view name)
{
    const moment now = now_of_both_clocks();
    if (!with_lock(zone, [&] { return zone.state->set_blocked(name, true, now); })) {
        return false;
    }
    // None is let in any more: those that run are all there are.
    uint32_t stopped = 0;
    each_running(zone, [&](const zone_session& session, const lease& l, uint32_t at) {
        if (l.key() != no_index && session->subjects().at(l.key()).name() == name) {
            session->stop(at, l.serial, stop_reason::key_revoked);
            stopped++;
        }
    });
    char more[64];
    *ngx_snprintf(reinterpret_cast<u_char*>(more), sizeof more - 1, "; %uD in flight", stopped) = '\0';
    log_of_key(r, "blocked", name, more);
    return true;
}

void unblock_key(ngx_http_request_t* r, const zone_conf& zone, std::string_view name)
{
    const moment now = now_of_both_clocks();
    with_lock(zone, [&] { zone.state->set_blocked(name, false, now); });
    log_of_key(r, "unblocked", name);
}

void reset_key(ngx_http_request_t* r, const zone_conf& zone, std::string_view name, shared_state::forget what)
{
    const moment now = now_of_both_clocks();
    with_lock(zone, [&] { zone.state->reset(name, what, now); });
    const char* of = what == shared_state::forget::quotas  ? "reset the quotas of"
                     : what == shared_state::forget::rates ? "reset the rates of"
                                                           : "reset the quotas and rates of";
    log_of_key(r, of, name);
}

bool stop_request(ngx_http_request_t* r, const zone_conf& zone, uint64_t serial)
{
    bool found = false;
    each_running(zone, [&](const zone_session& session, const lease& l, uint32_t at) {
        found = found || (l.serial == serial && session->stop(at, serial, stop_reason::asked));
    });
    if (found) {
        u_char text[NGX_INT64_LEN + 1];
        u_char* const end = ngx_sprintf(text, "%uL", serial);
        log_act(r, "stopped", "request ", {static_cast<size_t>(end - text), text}, "");
    }
    return found;
}

void log_reload(ngx_http_request_t* r)
{
    log_act(r, "asked to read", "the key files", ngx_null_string, "");
}

} // namespace llm
