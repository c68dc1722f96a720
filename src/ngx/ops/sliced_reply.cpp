#include "sliced_reply.h"

#include "ngx/clock.h"
#include "ngx/content.h"

#include <new>

namespace llm {

namespace {

// What other requests may have to wait for in a turn, give or take a slice.
constexpr uint64_t turn_ns = 30'000;
// So much is made before the header is sent: what is shorter has a length.
constexpr off_t header_bytes = 64 * 1024;
// Filters and the kernel are not troubled with less, until the end.
constexpr off_t piece_bytes = 16 * 1024;
// Nothing more is made while the client has not taken so much.
constexpr size_t most_unsent = 64 * 1024;
// A worker that is told to go stays as long as it has timers. This is the one of a reply that is never
// waiting for anything.
constexpr ngx_msec_t stay_ms = 60'000;

ngx_http_core_loc_conf_t* core_conf_of(ngx_http_request_t* r)
{
    return static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
}

} // namespace

sliced_reply* sliced_reply::make(ngx_http_request_t* r)
{
    void* memory = ngx_palloc(r->pool, sizeof(sliced_reply));
    return memory ? new (memory) sliced_reply(r) : nullptr;
}

ngx_int_t sliced_reply::send(std::string_view type, void* source, writer write)
{
    type_ = type;
    source_ = source;
    write_ = write;
    make_slices();
    switch (is_) {
    case progress::failed:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    case progress::done:
        return send_content(r_, out_, type_);
    case progress::more:
        break;
    }
    return wait_for_turns() ? NGX_DONE : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

bool sliced_reply::wait_for_turns()
{
    ngx_http_cleanup_t* cleanup = ngx_http_cleanup_add(r_, 0);
    if (!cleanup) {
        return false;
    }
    cleanup->handler = on_cleanup;
    cleanup->data = this;
    turn_.reply = this;
    turn_.event.handler = on_turn;
    turn_.event.data = r_->connection;
    turn_.event.log = r_->connection->log;

    r_->main->count++;
    // A client that leaves is seen while nothing can be sent to it, too.
    if (r_ == r_->main && !r_->discard_body) {
        r_->read_event_handler = ngx_http_test_reading;
    }
    r_->write_event_handler = on_write;
    next_turn();
    return true;
}

void sliced_reply::on_turn(ngx_event_t* event)
{
    sliced_reply& reply = *reinterpret_cast<turn_event*>(event)->reply;
    ngx_connection_t* c = reply.r_->connection;
    ngx_http_set_log_request(c->log, reply.r_);
    event->timedout = 0;
    reply.go_on();
    ngx_http_run_posted_requests(c);
}

void sliced_reply::on_write(ngx_http_request_t* r)
{
    sliced_reply* found = find(r);
    if (!found) {
        return;
    }
    sliced_reply& reply = *found;
    ngx_connection_t* c = r->connection;
    ngx_event_t* event = c->write;
    if (event->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
        c->timedout = 1;
        reply.end(NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }
    if (event->delayed || r->aio) {
        reply.wait_for_client();
        return;
    }
    reply.go_on();
}

void sliced_reply::on_cleanup(void* reply)
{
    static_cast<sliced_reply*>(reply)->rest();
}

sliced_reply* sliced_reply::find(const ngx_http_request_t* r)
{
    for (ngx_http_cleanup_t* c = r->main->cleanup; c; c = c->next) {
        if (c->handler == on_cleanup && static_cast<sliced_reply*>(c->data)->r_ == r) {
            return static_cast<sliced_reply*>(c->data);
        }
    }
    return nullptr;
}

void sliced_reply::make_slices()
{
    const uint64_t begin = now_of_both_clocks().ns;
    do {
        is_ = write_(source_);
        if (out_.failed()) {
            is_ = progress::failed;
        }
    } while (is_ == progress::more && out_.length() < piece_bytes
             && now_of_both_clocks().ns - begin < turn_ns);
}

// On each turn, and when the client has taken something.
void sliced_reply::go_on()
{
    rest();
    if (unsent() > most_unsent) {
        pass_on(nullptr);
        return;
    }
    make_slices();
    if (is_ == progress::failed) {
        end(announced_ ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    if (!announced_) {
        if (is_ == progress::done) {
            end(send_content(r_, out_, type_));
            return;
        }
        if (out_.length() < header_bytes) {
            next_turn();
            return;
        }
        announced_ = true;
        ngx_int_t rc = send_content_header(r_, type_, -1);
        if (rc == NGX_ERROR || rc > NGX_OK || r_->header_only) {
            end(rc);
            return;
        }
    }
    if (is_ == progress::done) {
        end(send_last_content(r_, out_));
    } else if (out_.length() < piece_bytes) {
        next_turn();
    } else {
        pass_on(out_.take());
    }
}

void sliced_reply::pass_on(ngx_chain_t* chain)
{
    if (ngx_http_output_filter(r_, chain) == NGX_ERROR) {
        end(NGX_ERROR);
        return;
    }
    ngx_chain_update_chains(r_->pool, &out_.sent(), &busy_, &chain, chain_writer::tag());
    if (unsent() > most_unsent) {
        wait_for_client();
    } else {
        next_turn();
    }
}

size_t sliced_reply::unsent() const
{
    size_t bytes = 0;
    for (const ngx_chain_t* link = busy_; link; link = link->next) {
        bytes += static_cast<size_t>(ngx_buf_size(link->buf));
    }
    return bytes;
}

void sliced_reply::next_turn()
{
    stop_waiting();
    ngx_add_timer(&turn_.event, stay_ms);
    ngx_post_event(&turn_.event, &ngx_posted_next_events);
}

// Of a subrequest this may also be the end of those before it, which nginx tells in the same way.
void sliced_reply::wait_for_client()
{
    rest();
    ngx_event_t* event = r_->connection->write;
    if (ngx_handle_write_event(event, core_conf_of(r_)->send_lowat) != NGX_OK) {
        end(NGX_ERROR);
    } else if (has_connection() && !event->delayed && event->active && !event->ready) {
        ngx_add_timer(event, core_conf_of(r_)->send_timeout);
    }
}

void sliced_reply::stop_waiting()
{
    ngx_event_t* event = r_->connection->write;
    if (has_connection() && event->timer_set && !event->delayed) {
        ngx_del_timer(event);
    }
}

// No turn is its own any more.
void sliced_reply::rest()
{
    if (turn_.event.posted) {
        ngx_delete_posted_event(&turn_.event);
    }
    if (turn_.event.timer_set) {
        ngx_del_timer(&turn_.event);
    }
}

// The request may be gone afterwards, and this with it.
void sliced_reply::end(ngx_int_t rc)
{
    rest();
    stop_waiting();
    r_->write_event_handler = ngx_http_request_empty_handler;
    ngx_http_finalize_request(r_, rc);
}

} // namespace llm
