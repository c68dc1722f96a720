#include "decide.h"

#include "clock.h"
#include "key_check.h"
#include "model_choice.h"
#include "model_edit.h"
#include "owner.h"
#include "policy.h"
#include "refuse.h"
#include "reply_cut.h"
#include "request_body.h"
#include "request_edit.h"
#include "running.h"

#include <algorithm>
#include <optional>

namespace llm {

namespace {

std::string_view text_of(body_fault fault)
{
    switch (fault) {
    case body_fault::none:
        break;
    case body_fault::not_an_object:
        return "it is not a JSON object in UTF-8 without a byte order mark";
    case body_fault::syntax:
        return "it is not valid JSON";
    case body_fault::not_utf8:
        return "it is not valid UTF-8";
    case body_fault::too_deep:
        return "it is nested too deeply";
    case body_fault::duplicate_field:
        return "a field stands twice in it";
    case body_fault::ambiguous_name:
        return "a field is spelled in another case than the API's, as \"Model\" is";
    case body_fault::bad_model:
        return "\"model\" is not a string, or is too long";
    case body_fault::not_a_form:
        return "it does not begin with the boundary that its Content-Type tells";
    }
    return "it cannot be read";
}

// NGX_OK, or what refuse() returned.
ngx_int_t carry_out(ngx_http_request_t* r, request_ctx& ctx, const key_source& source,
                    const admission_request& request, const admission_result& result, policy_edit* policy)
{
    ctx.decided.report = result.report;
    watch(ctx, result.report.has_tokens, std::min(request.estimate, result.hard_left),
          result.hard_left != UINT64_MAX);
    log_dry_run(r, result.dry_run_refusals);
    if (result.tell_shares) {
        ngx_log_error(
            NGX_LOG_WARN, r->connection->log, 0,
            "llm_zone \"%V\": key \"%V\" names more models, addresses or users than it can have counters "
            "of: further ones share one",
            &ctx.decided.zone->name, &ctx.names.key);
    }
    if (result.said != verdict::ok) {
        return refuse_for(r, ctx, result.said, result.refused_by);
    }
    if (ctx.facts.bytes() != 0) {
        send_as_json(r);
    }
    return edit_request(r, ctx, policy) && send_model(r, ctx) ? let_in(ctx, source)
                                                              : refuse(r, ctx, refusal::internal);
}

// Of the request that is being decided. It is far larger than what most requests need of the stack.
std::optional<policy_edit> planned;

// Rules are about what stands where they do not look.
bool escapes(ngx_http_request_t* r, const request_ctx& ctx, const request_policy& policy)
{
    return (policy.needs_json() && hides(r, ctx, hidden_part::fields))
           || (!policy.bound().empty() && hides(r, ctx, hidden_part::bound));
}

// What is to become of the body, before anything is taken for the request; `to` stays as it is where no rules
// are about it. NGX_OK, or what refuse() returned.
ngx_int_t plan_policy(ngx_http_request_t* r, request_ctx& ctx, const key_source& source, policy_edit*& to)
{
    const bool by_key = source.zone->state->rules_requests();
    // Whose key is wrong is not told what is wrong with the body.
    const auto check = [&] {
        const std::optional<admission_result> result = look_at_key(r, ctx, source);
        if (!result) {
            return refuse(r, ctx, refusal::internal);
        }
        if (is_about_key(result->said, result->refused_by)) {
            forget_body(r, ctx);
        }
        return result->said == verdict::ok ? NGX_OK : refuse_for(r, ctx, result->said, result->refused_by);
    };
    const auto refuse_body = [&](refusal why, std::string_view detail) {
        const ngx_int_t rc = by_key ? NGX_OK : check();
        return rc == NGX_OK ? refuse(r, ctx, why, detail) : rc;
    };
    if (by_key) {
        if (const ngx_int_t rc = check(); rc != NGX_OK) {
            return rc;
        }
    }
    const request_policy* policy = nullptr;
    // What is not read is so by the location's will.
    if (!find_policy(*location_conf_of(r), !ctx.asked.unread,
                     by_key ? rules_of_last_key() : std::string_view(), policy)) {
        return refuse(r, ctx, refusal::internal);
    }
    if (!policy) {
        return NGX_OK;
    }
    if (escapes(r, ctx, *policy)) {
        return refuse_body(refusal::bad_request,
                           "there are rules for what may be asked here, which cannot be applied to what is "
                           "within it, such as other requests");
    }
    const bool is_json = ctx.facts.bytes() != 0;
    if (!is_json) {
        if (asks_websocket(r)) {
            return refuse_body(refusal::websocket, {});
        }
        const bool is_bounded = !policy->bound().empty() && (ctx.call.needs_bound || ctx.call.bound_to_give);
        const bool needs_json = policy->needs_json() || is_bounded;
        return (ctx.asked.has_body || ctx.asked.unread) && needs_json
                   ? refuse_body(refusal::bad_request,
                                 "there are rules for what may be asked here, which need a JSON object")
                   : NGX_OK;
    }
    if (!find_members(r, ctx)) {
        return refuse(r, ctx, refusal::internal);
    }
    const body_members& members = ctx.facts.members();
    policy_edit& edit =
        planned.emplace(*policy, ctx.call, members.kept(), ctx.facts.root_end(), bytes_of_body(r));
    const policy_fault fault = members.all_kept() ? edit.plan() : policy_fault::too_many_fields;
    if (fault != policy_fault::none) {
        return refuse_body(refusal::bad_request, text_of(fault, edit));
    }
    to = &edit;
    if (!policy->bound().empty() && (ctx.asked.size.max_tokens != 0 || edit.gives_bound())) {
        note_bound(ctx, policy->bound_value());
    }
    return NGX_OK;
}

// Key, model and all limits in one step. `again`: which header names the user of the key is known by now.
ngx_int_t admit(ngx_http_request_t* r, request_ctx& ctx, const key_source& source, policy_edit* policy,
                bool again)
{
    ctx.decided.leased_by = &source;
    if (owner_number(*source.zone) == no_index) {
        return refuse_for(r, ctx, verdict::zone_full, {});
    }

    key_names names;
    admission_request request = describe(r, ctx, source, now_of_both_clocks());
    if (std::string_view fault = read_user(r, ctx, request); !fault.empty()) {
        return refuse(r, ctx, refusal::bad_user, fault);
    }
    admission_result result;
    source.zone->state->prepare(request);
    // What a WebSocket will use is not known, and it may last for hours: nothing is reserved for it.
    // Nor is a body that is not read.
    const request_size* size = asks_websocket(r) || ctx.asked.unread ? nullptr : &ctx.asked.size;
    const caller from = source.zone->state->caller_of(request);
    {
        zone_session session(*source.zone);
        shared_key* key = nullptr;
        result = session->check_and_admit(request, size, key, from);
        if (key) {
            names.copy(*key);
            note_expiry(*source.zone, key->expires);
        }
    }
    if (is_about_key(result.said, result.refused_by)) {
        forget_body(r, ctx);
        forget_model(ctx);
    } else {
        source.zone->state->note_caller(from, request);
    }
    if (result.taken) {
        // From here on it is settled whatever happens.
        ctx.held = result.taken;
        ctx.step = request_step::admitted;
        join_running(r, ctx);
    }
    if (!names.keep(r, ctx)) {
        return refuse(r, ctx, refusal::internal);
    }
    if (result.said == verdict::asks_user && !again) {
        return admit(r, ctx, source, policy, true);
    }
    if (!request.user.empty() && ctx.names.key.len != 0) {
        name_user(ctx, request.user);
    }
    return carry_out(r, ctx, source, request, result, policy);
}

} // namespace

ngx_int_t let_in(request_ctx& ctx, const key_source& source)
{
    ctx.decided.admitted_by = &source;
    forget_refusal(ctx);
    return NGX_OK;
}

ngx_int_t decide(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    if (ctx.asked.fault != body_fault::none) {
        return refuse(r, ctx, refusal::bad_request, text_of(ctx.asked.fault));
    }
    if (std::string_view fault = usage_fault(r, ctx); !fault.empty()) {
        return refuse(r, ctx, refusal::bad_request, fault);
    }
    if (refusal why = choose_model(r, ctx); why != refusal::none) {
        return refuse(r, ctx, why, view(ctx.asked.model));
    }
    policy_edit* policy = nullptr;
    if (location_conf_of(r)->request || source.zone->state->rules_requests()) {
        if (const ngx_int_t rc = plan_policy(r, ctx, source, policy); rc != NGX_OK) {
            return rc;
        }
    }
    return admit(r, ctx, source, policy, false);
}

} // namespace llm
