#include "running.h"

#include "own_timer.h"
#include "reply_cut.h"

#include <algorithm>

namespace llm {

namespace {

constexpr ngx_msec_t look_every_ms = 200;
// Of one lock and one turn of the event loop.
constexpr size_t slice = 16;
constexpr ngx_msec_t between_slices_ms = 1;
// A stream that is in the midst of an event gets so many further looks before it is cut off there.
constexpr ngx_msec_t try_again_ms = 50;
constexpr uint8_t max_tries = 6;

request_ctx& request_at(ngx_queue_t* link)
{
    using place = decltype(request_ctx::running);
    auto* at = reinterpret_cast<u_char*>(link) - offsetof(place, link);
    return *reinterpret_cast<request_ctx*>(at - offsetof(request_ctx, running));
}

// Whether there may be somebody who is to end since the last time, and how things stand, to be told the next
// time. Needs no lock.
bool has_news(zone_conf& zone)
{
    const uint64_t generation = zone.state->generation();
    const uint64_t stops = zone.state->stops();
    if (generation == zone.looked.generation && stops == zone.looked.stops
        && ngx_time() < zone.looked.next_expiry) {
        return false;
    }
    zone.looked = {generation, stops, INT64_MAX};
    return true;
}

// Needs the lock. A key that is in no file any more is revoked; a file that the configuration has no more is
// none of its business: a reload ends no stream.
void look_at_key(zone_conf& zone, const request_ctx& ctx)
{
    shared_key* key = nullptr;
    const verdict said =
        zone.state->keys()->state_of(ctx.decided.leased_by->id, ctx.credential, ngx_time(), key);
    if (said == verdict::unknown || said == verdict::disabled || said == verdict::expired) {
        ctx.held->stop(stop_reason::key_revoked);
    } else if (key) {
        note_expiry(zone, key->expires);
    }
}

void look_at_slice(main_conf& mcf)
{
    request_ctx* requests[slice];
    size_t n = 0;
    for (; n < slice && mcf.to_look_at != 0 && !ngx_queue_empty(&mcf.running); n++, mcf.to_look_at--) {
        ngx_queue_t* link = ngx_queue_head(&mcf.running);
        ngx_queue_remove(link);
        ngx_queue_insert_tail(&mcf.running, link);
        requests[n] = &request_at(link);
    }
    const std::span some(requests, n);
    for (zone_conf* zone : zones_of(mcf)) {
        const auto is_of_zone = [&](const request_ctx* ctx) { return ctx->decided.zone == zone; };
        if (std::any_of(some.begin(), some.end(), is_of_zone)) {
            zone_session session(*zone);
            for (const request_ctx* ctx : some) {
                if (is_of_zone(ctx)) {
                    look_at_key(*zone, *ctx);
                }
            }
        }
    }
    for (request_ctx* ctx : some) {
        if (ctx->held->stopped() != stop_reason::none) {
            ngx_queue_remove(&ctx->running.link);
            ngx_queue_insert_tail(&mcf.stopping, &ctx->running.link);
            ctx->running.tries = 0;
        }
    }
}

// With the end of one, others may end: those leave the list by themselves.
void end_some(main_conf& mcf)
{
    size_t n = 0;
    for (ngx_queue_t* link = ngx_queue_head(&mcf.stopping); link != ngx_queue_sentinel(&mcf.stopping);
         link = ngx_queue_next(link)) {
        n++;
    }
    for (; n != 0 && !ngx_queue_empty(&mcf.stopping); n--) {
        ngx_queue_t* link = ngx_queue_head(&mcf.stopping);
        ngx_queue_remove(link);
        ngx_queue_insert_tail(&mcf.stopping, link);
        request_ctx& ctx = request_at(link);
        end_stopped(ctx.running.request, ctx, ctx.running.tries++ >= max_tries);
    }
}

void look(ngx_event_t* event)
{
    auto& mcf = *static_cast<main_conf*>(timer_data(event));
    if (mcf.to_look_at == 0) {
        bool news = false;
        for (zone_conf* zone : zones_of(mcf)) {
            news = has_news(*zone) || news;
        }
        mcf.to_look_at = news ? mcf.n_running : 0;
    }
    if (mcf.to_look_at != 0) {
        look_at_slice(mcf);
    }
    end_some(mcf);
    // A worker that is to exit still has its streams, and does not wait for this timer.
    if (!ngx_terminate) {
        const bool waits = !ngx_queue_empty(&mcf.stopping);
        ngx_add_timer(event, mcf.to_look_at != 0 ? between_slices_ms : waits ? try_again_ms : look_every_ms);
    }
}

} // namespace

void join_running(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.running.request = r->main;
    ngx_queue_insert_tail(&ctx.home->running, &ctx.running.link);
    ctx.home->n_running++;
}

void leave_running(request_ctx& ctx)
{
    ngx_queue_remove(&ctx.running.link);
    ctx.home->n_running--;
}

bool watch_running(ngx_cycle_t* cycle, main_conf& mcf)
{
    if (!make_timer(cycle, mcf.look, look, &mcf)) {
        return false;
    }
    for (zone_conf* zone : zones_of(mcf)) {
        has_news(*zone);
    }
    ngx_add_timer(&mcf.look, look_every_ms);
    return true;
}

} // namespace llm
