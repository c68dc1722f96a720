#include "admin_reload.h"

#include "admin_act.h"
#include "admin_error.h"
#include "json_writer.h"

#include "ngx/conf_args.h"
#include "ngx/content.h"

#include <optional>
#include <string>

namespace llm {

namespace {

constexpr ngx_msec_t look_every_ms = 50;
constexpr ngx_msec_t longest_ms = 30'000;

// In the request's pool.
struct waiting {
    ngx_event_t timer;
    ngx_http_request_t* r;
    const zone_conf* zone;
    uint64_t number; // in the mailbox
    ngx_msec_t begun;
};

ngx_int_t send_fault(ngx_http_request_t* r, const keys_read& read)
{
    std::string message(read.path());
    if (read.fault.line != 0) {
        message += ':' + std::to_string(read.fault.line) + ':' + std::to_string(read.fault.column);
    }
    message.append(": ").append(read.fault.text());
    if (read.faults > 1) {
        message += " (and " + std::to_string(read.faults - 1) + " more)";
    }
    return send_admin_error(r, NGX_HTTP_CONFLICT, "key_file_fault", message);
}

ngx_int_t send_changes(ngx_http_request_t* r, const keys_read& read)
{
    chain_writer text(r->pool);
    json_writer out(text);
    out.begin_object();
    out.field("generation", read.generation);
    out.field("files", read.files);
    out.field("keys", read.keys);
    out.field("added", read.changes.added);
    out.field("removed", read.changes.removed);
    out.field("changed", read.changes.changed);
    out.end_object();
    text.put("\n");
    return send_content(r, text, "application/json");
}

std::optional<keys_read> answer_to(const waiting& w)
{
    std::optional<keys_read> copy;
    with_lock(*w.zone, [&] {
        if (const keys_read* read = w.zone->state->mailbox().answer(w.number)) {
            copy = *read;
        }
    });
    return copy;
}

void look(ngx_event_t* event)
{
    auto& w = *static_cast<waiting*>(event->data);
    ngx_http_request_t* r = w.r;
    ngx_connection_t* c = r->connection;
    ngx_http_set_log_request(c->log, r);
    ngx_int_t rc;
    if (const std::optional<keys_read> read = answer_to(w)) {
        rc = read->faults != 0 ? send_fault(r, *read) : send_changes(r, *read);
    } else if (ngx_current_msec - w.begun >= longest_ms) {
        rc = send_admin_error(
            r, NGX_HTTP_GATEWAY_TIME_OUT, "no_answer",
            "The key files were not read within 30 seconds: they may be large, or the process "
            "that reads them is not there. The error log says more.");
    } else {
        ngx_add_timer(event, look_every_ms);
        return;
    }
    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}

void stop_looking(void* data)
{
    auto& w = *static_cast<waiting*>(data);
    if (w.timer.timer_set) {
        ngx_del_timer(&w.timer);
    }
}

} // namespace

ngx_int_t reload_keys(ngx_http_request_t* r, const zone_conf& zone)
{
    auto* w = make<waiting>(r->pool);
    ngx_http_cleanup_t* cleanup = ngx_http_cleanup_add(r, 0);
    if (!w || !cleanup) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    cleanup->handler = stop_looking;
    cleanup->data = w;
    w->timer.handler = look;
    w->timer.data = w;
    w->timer.log = r->connection->log;
    w->r = r;
    w->zone = &zone;
    w->begun = ngx_current_msec;
    log_reload(r);
    w->number = with_lock(zone, [&] { return zone.state->mailbox().ask(); });
    ngx_add_timer(&w->timer, look_every_ms);
    if (!r->discard_body) {
        // A client that leaves need not be waited for.
        r->read_event_handler = ngx_http_test_reading;
    }
    r->main->count++;
    return NGX_DONE;
}

} // namespace llm
