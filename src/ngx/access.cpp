// The access phase, as a request goes through it:
//
//   arrived: the key is taken out of the headers.
//   keyed: if the body is here already, or there is none, and nothing is wrong with it, key, model and lease
//   are decided in one step (decide.cpp), without waiting for nginx to read it. Else the key is checked
//   (key_check.cpp), so that a refusal leaves the body unread.
//   reading_body: nginx reads it, request_body.cpp looks on, and the phase is run again.
//   body_read: the key again, since it may have been revoked meanwhile, the model and the lease, in one step.
//   admitted, settled: an internal redirect needs no second lease, but the key file and the table of models
//   of its new location have their say.
//
// Where `identity` is in force, all of it happens in the phase that follows: nginx runs the access handlers
// of its own modules after those of others, and they are to have checked who it is.

#include "access.h"

#include "clock.h"
#include "content.h"
#include "credentials.h"
#include "decide.h"
#include "error_page.h"
#include "key_check.h"
#include "model_choice.h"
#include "model_edit.h"
#include "own_time.h"
#include "owner.h"
#include "refuse.h"
#include "request_body.h"
#include "request_edit.h"
#include "request_head.h"

namespace llm {

namespace {

// A location of its own table of models, to which an internal redirect leads, has its say whoever let the
// request in: it may send it elsewhere by another name, such as to a hosted account. NGX_OK, or what refuse()
// returned.
ngx_int_t follow_table(ngx_http_request_t* r, request_ctx& ctx)
{
    if (refusal why = choose_model(r, ctx); why != refusal::none) {
        return refuse(r, ctx, why, view(ctx.asked.model));
    }
    return send_model(r, ctx) ? NGX_OK : refuse(r, ctx, refusal::internal);
}

// A request that holds its lease came to another location by an internal redirect, or by post_action when the
// lease was settled: it gets no second one.
ngx_int_t check_again(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    admission_request request = describe(r, ctx, source, now_of_both_clocks());
    verdict said;
    {
        zone_session session(*source.zone);
        said = session->check(request);
    }
    if (said != verdict::ok) {
        return refuse_for(r, ctx, said, {});
    }
    const ngx_int_t rc = follow_table(r, ctx);
    return rc == NGX_OK ? let_in(ctx, source) : rc;
}

// Whoever uses llm_admin, or asks what a key has used, needs a key, is held to no limit, and is not counted.
ngx_int_t let_look(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    const ngx_int_t rc = check_key(r, ctx, source);
    if (rc == NGX_OK && location_conf_of(r)->admin && !ctx.names.is_admin) {
        return refuse(r, ctx, refusal::not_admin);
    }
    if (rc == NGX_OK) {
        ctx.decided.zone = nullptr;
        forget_refusal(ctx);
    }
    return rc;
}

ngx_int_t let_in_or_refuse(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    const bool operates = location_conf_of(r)->admin != nullptr;
    if (ctx.step >= request_step::admitted) {
        if (ctx.by_name && !is_same_here(r, ctx)) {
            return refuse(r, ctx, refusal::no_key);
        }
        // No upstream or error page leads a client's request to what operators do.
        if (operates) {
            return refuse(r, ctx, refusal::not_admin);
        }
        if (ctx.decided.admitted_by == &source) {
            return follow_table(r, ctx);
        }
        return check_again(r, ctx, source);
    }
    const location_conf& here = *location_conf_of(r);
    // The page of llm_usage needs no key: it asks for one.
    if (here.tells_usage && prefers_html(r)) {
        return NGX_OK;
    }
    ctx.decided.zone = source.zone;

    if (ctx.step == request_step::arrived && !take_credential(r, ctx)) {
        return refuse(r, ctx, refusal::internal);
    }
    // Each location says who that is by itself. The next one reads the body anew, if this one lets nobody in.
    if (ctx.by_name || (ctx.step == request_step::keyless && !ctx.misspelt_key)) {
        const bool knew_body = ctx.knows_body();
        if (!take_identity(r, ctx)) {
            return refuse(r, ctx, refusal::internal);
        }
        if (knew_body && ctx.step == request_step::keyless) {
            forget_body(r, ctx);
            ctx.step = request_step::keyless;
        }
    }
    if (ctx.step == request_step::keyless) {
        return refuse(r, ctx, refusal::no_key);
    }
    if (here.tells_usage || here.tells_models || operates) {
        return let_look(r, ctx, source);
    }
    refusal head = check_head(r, ctx);
    const bool reads_body = location_conf_of(r)->reads_body;
    if (ctx.asked.unread && reads_body) {
        forget_body(r, ctx); // refused where it was not read, and led here
    } else if (!reads_body && !ctx.knows_body() && head == refusal::none) {
        leave_body_unread(ctx);
    }
    if (ctx.knows_body()) {
        return head == refusal::none ? decide(r, ctx, source) : refuse(r, ctx, head);
    }

    if (head == refusal::none && owner_number(*source.zone) != no_index && scan_body_ahead(r, ctx)) {
        if (ctx.asked.fault == body_fault::none && usage_fault(r, ctx).empty()
            && choose_model(r, ctx) == refusal::none) {
            return decide(r, ctx, source);
        }
        forget_body(r, ctx);
    }
    ngx_int_t rc = check_key(r, ctx, source);
    if (rc != NGX_OK) {
        return rc;
    }
    if (head != refusal::none) {
        return refuse(r, ctx, head);
    }
    rc = read_body(r, ctx);
    return rc == NGX_OK ? decide(r, ctx, source) : rc;
}

ngx_int_t handle(ngx_http_request_t* r, const key_source& source)
{
    request_ctx* ctx = find_or_make_request(r);
    if (!ctx) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ctx->step == request_step::reading_body) {
        return NGX_DONE;
    }
    own_time time(*ctx);
    const ngx_int_t rc = let_in_or_refuse(r, *ctx, source);
    // A request that was refused may be gone.
    if (rc == NGX_OK) {
        time.stop(*ctx);
    }
    return rc;
}

// No other module's subrequest gets the key.
ngx_int_t take_credential_early(ngx_http_request_t* r)
{
    request_ctx* ctx = find_or_make_request(r);
    if (!ctx || (ctx->step == request_step::arrived && !take_credential(r, *ctx))) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return NGX_DECLINED;
}

} // namespace

ngx_int_t access_handler(ngx_http_request_t* r)
{
    if (r != r->main) {
        return NGX_DECLINED;
    }
    // It needs no key, and is all that its location does without one: a `mirror` that is inherited would take
    // the request to an upstream.
    if (is_error_page(r)) {
        return answer_error(r);
    }
    const key_source* source = location_conf_of(r)->keys;
    if (!source) {
        return NGX_DECLINED;
    }
    return location_conf_of(r)->identity ? take_credential_early(r) : handle(r, *source);
}

ngx_int_t precontent_handler(ngx_http_request_t* r)
{
    const location_conf& conf = *location_conf_of(r);
    if (r != r->main || !conf.identity || !conf.keys) {
        return NGX_DECLINED;
    }
    const ngx_int_t rc = handle(r, *conf.keys);
    return rc == NGX_OK ? NGX_DECLINED : rc;
}

void note_too_large(ngx_http_request_t* r)
{
    const location_conf& conf = *location_conf_of(r);
    if (r != r->main || !conf.keys || conf.tells_usage || conf.tells_models || find_request(r)) {
        return;
    }
    if (request_ctx* ctx = find_or_make_request(r)) {
        ctx->decided.zone = conf.keys->zone;
    }
}

} // namespace llm
