#include "key_check.h"

#include "clock.h"
#include "headers_in.h"
#include "model_choice.h"
#include "policy.h"
#include "refuse.h"
#include "request_body.h"
#include "scope_names.h"

#include "core/base/chars.h"
#include "core/base/hash.h"
#include "core/base/utf8_check.h"

#include <algorithm>

namespace llm {

namespace {

key_policy_text last_rules;

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

refusal refusal_of_verdict(verdict v)
{
    switch (v) {
    case verdict::ok:
        return refusal::none;
    case verdict::no_such_file:
    case verdict::asks_user:
        return refusal::reloading;
    case verdict::unknown:
        return refusal::invalid_key;
    case verdict::blocked:
        return refusal::blocked;
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
    case verdict::limited:
        break; // says more, see refuse_for
    }
    return refusal::internal;
}

} // namespace

bool key_names::keep(ngx_http_request_t* r, request_ctx& ctx) const
{
    const std::string_view key(key_, key_size_);
    const std::string_view header(header_, header_size_);
    const std::string_view user(user_, user_size_);
    if (!key.empty()) {
        ctx.names.picks_models = picks_models_;
    }
    // In another file, or after a change of this one, the same name may be of another user and plan.
    if (key.empty()
        || (view(ctx.names.key) == key && view(ctx.names.user_from) == header
            && (ctx.names.named_user || view(ctx.names.user) == user)
            && view(ctx.names.plan) == std::string_view(plan_, plan_size_))) {
        return true;
    }
    ctx.names.key = copy_text(r->pool, key);
    ctx.names.user = copy_text(r->pool, user);
    ctx.names.plan = plan_size_ != 0 ? copy_text(r->pool, {plan_, plan_size_}) : ngx_str_t{0, nullptr};
    ctx.names.user_from = header_size_ != 0 ? copy_text(r->pool, header) : ngx_str_t{0, nullptr};
    ctx.names.named_user = false;
    return ctx.names.key.data && ctx.names.user.data && ctx.names.plan.len == plan_size_
           && ctx.names.user_from.len == header_size_;
}

ngx_int_t refuse_for(ngx_http_request_t* r, request_ctx& ctx, verdict said, const limit_refusal& by)
{
    if (said == verdict::limited) {
        char detail[limit_detail_bytes];
        return refuse(r, ctx, refusal_of(by), write_limit_detail(by, detail), by.wait_ms);
    }
    refusal why = refusal_of_verdict(said);
    if (why == refusal::zone_full) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0, "llm_zone \"%V\" is full: request refused",
                      &ctx.decided.zone->name);
    }
    if (why == refusal::model && hides(r, ctx, hidden_part::models) && hides(r, ctx, hidden_part::fields)) {
        return refuse(r, ctx, refusal::hidden_model);
    }
    if (why == refusal::model && (ctx.asked.unclear_model || ctx.asked.more_models.len != 0)) {
        return refuse(r, ctx, refusal::other_model);
    }
    if (why == refusal::model && !ctx.asked.names_model()) {
        return refuse(r, ctx, refusal::no_model);
    }
    return refuse(r, ctx, why, view(ctx.asked.model));
}

bool is_about_key(verdict said, const limit_refusal& by)
{
    return said == verdict::no_such_file || said == verdict::unknown || said == verdict::blocked
           || said == verdict::disabled || said == verdict::expired || said == verdict::network
           || by.kind == limit_kind::failures;
}

void log_dry_run(ngx_http_request_t* r, uint64_t refusals)
{
    if (refusals == 0) {
        return;
    }
    for (const limit_name& limit : limit_names) {
        for (const scope_name& whose : scope_names) {
            if (refusals & dry_run_bit(limit.kind, whose.scope)) {
                ngx_str_t what = to_ngx(limit.name);
                ngx_str_t per = to_ngx(whose.name);
                ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                              "llm: request would be refused, dry run: %V per %V", &what, &per);
            }
        }
    }
}

refusal refusal_of(const admission_result& result)
{
    return result.said == verdict::limited ? refusal_of(result.refused_by) : refusal_of_verdict(result.said);
}

admission_request describe(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source,
                           const moment& now)
{
    return {.file = source.id,
            .key = ctx.credential,
            .address = address_of(r),
            .asks_model = ctx.asked.has_body || ctx.asked.names_model(),
            .named_model = ctx.asked.names_model(),
            .model = ctx.counted_model(),
            .stream = ctx.asked.stream,
            .owner = source.zone->owner,
            .now_ms = now.unix_ms,
            .now_ns = now.ns,
            .rules = rules_of(*location_conf_of(r)),
            .estimate = 0,
            .weights = weights_of(r, ctx),
            // What the body says is known only once it is read.
            .needs_model = ctx.knows_body() && needs_model(r->main, ctx),
            .unclear_model = ctx.asked.unclear_model,
            .more_models = view(ctx.asked.more_models),
            .asked_model = view(ctx.asked.model),
            .most_tokens = ctx.routed.row ? ctx.routed.row->max_tokens : 0};
}

std::optional<admission_result> look_at_key(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    key_names names;
    std::span<const limit_rule> rules = rules_of(*location_conf_of(r));
    // Most requests need no clock here: only wrong keys are limited, and only where there is such a rule.
    admission_request request =
        describe(r, ctx, source, rules.empty() ? moment{0, wall_clock_ms()} : now_of_both_clocks());
    const caller from = source.zone->state->caller_of(request);
    admission_result result;
    bool is_admin = false;
    last_rules.copy({});
    {
        zone_session session(*source.zone);
        shared_key* key = nullptr;
        result = session->check_key(request, key, from);
        if (key) {
            names.copy(*key);
            is_admin = key->admin;
            last_rules.copy(key->policy->request.view());
        }
    }
    ctx.names.is_admin = is_admin && result.said == verdict::ok;
    if (result.said == verdict::ok) {
        source.zone->state->note_caller(from, request);
    }
    log_dry_run(r, result.dry_run_refusals);
    return names.keep(r, ctx) ? std::optional(result) : std::nullopt;
}

const shared_key* present_key(const zone_session& session, const key_source& source, const request_ctx& ctx)
{
    shared_key* key = nullptr;
    if (session->keys()) {
        session->keys()->state_of(source.id, ctx.credential, 0, key);
    }
    return key;
}

std::string_view rules_of_last_key()
{
    return last_rules.view();
}

ngx_int_t check_key(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    const std::optional<admission_result> result = look_at_key(r, ctx, source);
    if (!result) {
        return refuse(r, ctx, refusal::internal);
    }
    return result->said == verdict::ok ? NGX_OK : refuse_for(r, ctx, result->said, result->refused_by);
}

std::string_view read_user(ngx_http_request_t* r, const request_ctx& ctx, admission_request& request)
{
    if (ctx.names.user_from.len == 0) {
        return {};
    }
    request.user_from = view(ctx.names.user_from);
    size_t n = 0;
    each_header_in(r->main, [&](const ngx_table_elt_t& header) {
        if (header.key.len == ctx.names.user_from.len
            && ngx_strncasecmp(header.key.data, ctx.names.user_from.data, header.key.len) == 0) {
            request.user = view(header.value);
            n++;
        }
    });
    if (n > 1) {
        return "it stands more than once in the request";
    }
    if (request.user.size() > max_name) {
        return "it has more than 80 bytes";
    }
    if (has_control(request.user) || !is_utf8(request.user)) {
        return "it has control characters, or is no UTF-8";
    }
    return {};
}

void name_user(request_ctx& ctx, std::string_view user)
{
    ctx.names.user = to_ngx(user);
    ctx.names.named_user = true;
}

} // namespace llm
