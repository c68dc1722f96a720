// The access phase: key, body, decision, lease.
//
//   arrived: the key is taken out of the headers
//   keyed: if the body is here already, or there is none, and nothing is wrong with it, key, model and lease
//   are
//      decided in one step, without waiting for nginx to read it. Else the key is checked, so that a refusal
//      leaves the body unread;
//   reading_body: nginx reads it, request_body.cpp looks on, and the phase is run again
//   body_read: the key again, since it may have been revoked meanwhile, the model, and the lease, in one step
//   Where `identity` is in force, all of it happens in the phase that follows: nginx runs the access handlers
//   of its own modules after those of others, and they are to have checked who it is.
//   admitted, settled: an internal redirect needs no second lease, but the key file of its new location has
//   its
//      say

#include "access.h"

#include "clock.h"
#include "content.h"
#include "credentials.h"
#include "error_page.h"
#include "headers_in.h"
#include "model_choice.h"
#include "model_edit.h"
#include "own_time.h"
#include "owner.h"
#include "policy.h"
#include "refuse.h"
#include "reply_cut.h"
#include "request_body.h"
#include "request_edit.h"
#include "running.h"
#include "scope_names.h"

#include "core/base/chars.h"
#include "core/base/hash.h"
#include "core/base/utf8.h"

#include <algorithm>

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

// A refusal of what the zone said; for a limit, `by` says more.
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
    if (why == refusal::model && (ctx.asked.unclear_model || ctx.asked.more_models.len != 0)) {
        return refuse(r, ctx, refusal::other_model);
    }
    if (why == refusal::model && !ctx.asked.names_model()) {
        return refuse(r, ctx, refusal::no_model);
    }
    return refuse(r, ctx, why, view(ctx.asked.model));
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

// A key's names, out of the zone: its table may be replaced while the request runs.
class key_names {
public:
    void copy(const shared_key& key)
    {
        key_size_ = key.name.view().copy(key_, sizeof key_);
        user_size_ = key.user.view().copy(user_, sizeof user_);
        plan_size_ = key.policy->plan.view().copy(plan_, sizeof plan_);
        header_size_ = key.policy->user_from.view().copy(header_, sizeof header_);
    }

    // False if there is no memory.
    bool keep(ngx_http_request_t* r, request_ctx& ctx) const
    {
        std::string_view key(key_, key_size_);
        std::string_view header(header_, header_size_);
        const std::string_view user(user_, user_size_);
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

private:
    size_t key_size_ = 0;
    size_t user_size_ = 0;
    size_t plan_size_ = 0;
    size_t header_size_ = 0;
    char key_[max_name];
    char user_[max_name];
    char plan_[max_name];
    char header_[max_name];
};

// Of the key that look_at_key() has found last.
key_policy_text key_rules;

// NGX_OK, or what refuse() returned.
ngx_int_t check_key(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    const std::optional<admission_result> result = look_at_key(r, ctx, source);
    if (!result) {
        return refuse(r, ctx, refusal::internal);
    }
    return result->said == verdict::ok ? NGX_OK : refuse_for(r, ctx, result->said, result->refused_by);
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

// Whether a server that is sent the path as it came may read another model in it than nginx has, or that it
// is for one at all: an escaped slash, dots, what nginx takes for a fragment.
bool may_name_another_model(ngx_http_request_t* r, const request_ctx& ctx)
{
    std::string_view raw = view(r->unparsed_uri);
    if (raw == view(r->uri) || !r->valid_unparsed_uri) {
        return false;
    }
    if (raw.find('#') != std::string_view::npos) {
        return true;
    }
    raw = raw.substr(0, raw.find('?'));
    if (raw == view(r->uri)) {
        return false;
    }
    auto* room = static_cast<u_char*>(ngx_pnalloc(r->pool, raw.size()));
    if (!room) {
        return true;
    }
    const auto decode = [room](std::string_view text) -> std::string_view {
        ngx_str_t from = to_ngx(text);
        u_char* end = room;
        ngx_unescape_uri(&end, &from.data, from.len, 0);
        return {reinterpret_cast<char*>(room), static_cast<size_t>(end - room)};
    };
    const api_call call = call_of_path(decode(raw));
    if (call.model != ctx.call.model || call.needs_model != ctx.call.needs_model) {
        return true;
    }
    // To a server that looks for the name first and decodes it then.
    const std::string_view escaped = call_of_path(raw).model;
    return !escaped.empty() && decode(escaped) != ctx.call.model;
}

// What is wrong with the head of a request whose key is good. Servers differ in what a control character in a
// path is to them, as regular expressions do: some take "/v1/chat/completions%0a" for the path without it.
refusal check_head(ngx_http_request_t* r, const request_ctx& ctx)
{
    std::string_view path = view(r->uri);
    bool control = std::any_of(path.begin(), path.end(), is_control);
    if (control || may_name_another_model(r, ctx)) {
        return refusal::bad_path;
    }
    const location_conf& lcf = *location_conf_of(r);
    if (asks_websocket(r) && !lcf.websocket) {
        return refusal::websocket;
    }
    return lcf.reads_body ? check_coding(r) : refusal::none;
}

ngx_int_t let_in(request_ctx& ctx, const key_source& source)
{
    ctx.decided.admitted_by = &source;
    forget_refusal(ctx);
    return NGX_OK;
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
    return edit_request(r, ctx, policy) && send_model(r, ctx) ? let_in(ctx, source)
                                                              : refuse(r, ctx, refusal::internal);
}

bool is_about_key(verdict said, const limit_refusal& by)
{
    return said == verdict::no_such_file || said == verdict::unknown || said == verdict::blocked
           || said == verdict::disabled || said == verdict::expired || said == verdict::network
           || by.kind == limit_kind::failures;
}

// Of the request that is being decided. It is far larger than what most requests need of the stack.
std::optional<policy_edit> planned;

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
    if (!find_policy(*location_conf_of(r), !ctx.asked.unread, by_key ? key_rules.view() : std::string_view(),
                     policy)) {
        return refuse(r, ctx, refusal::internal);
    }
    if (!policy) {
        return NGX_OK;
    }
    const bool is_json = ctx.facts.bytes() != 0;
    if (!is_json) {
        if (asks_websocket(r)) {
            return refuse_body(refusal::websocket, {});
        }
        return (ctx.asked.has_body || ctx.asked.unread) && policy->needs_json()
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

bool is_utf8(std::string_view text)
{
    size_t n = 1;
    for (; !text.empty() && n != 0; text.remove_prefix(n)) {
        n = utf8_length(text);
    }
    return n != 0;
}

// Who asks, by the header that the key's `user_from` names, into the request. Returns what is wrong with it.
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
    if (std::any_of(request.user.begin(), request.user.end(), is_control) || !is_utf8(request.user)) {
        return "it has control characters, or is no UTF-8";
    }
    return {};
}

// The body is known. Key, model and all limits in one step: a key that was checked before may have been
// revoked meanwhile, and one that was not is told first what is wrong with it.
ngx_int_t decide(ngx_http_request_t* r, request_ctx& ctx, const key_source& source, bool again = false)
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
            ctx.decided.picks_models = key->policy->n_models != 0;
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
    // Which header names the user is known only now.
    if (result.said == verdict::asks_user && !again) {
        return decide(r, ctx, source, true);
    }
    if (!request.user.empty() && ctx.names.key.len != 0) {
        ctx.names.user = to_ngx(request.user);
        ctx.names.named_user = true;
    }
    return carry_out(r, ctx, source, request, result, policy);
}

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

} // namespace

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
    {
        zone_session session(*source.zone);
        shared_key* key = nullptr;
        result = session->check_key(request, key, from);
        key_rules.copy({});
        if (key) {
            names.copy(*key);
            is_admin = key->admin;
            key_rules.copy(key->policy->request.view());
        }
    }
    ctx.decided.is_admin = is_admin && result.said == verdict::ok;
    if (result.said == verdict::ok) {
        source.zone->state->note_caller(from, request);
    }
    log_dry_run(r, result.dry_run_refusals);
    return names.keep(r, ctx) ? std::optional(result) : std::nullopt;
}

namespace {

// Whoever uses llm_admin, or asks what a key has used, needs a key, is held to no limit, and is not counted.
ngx_int_t let_look(ngx_http_request_t* r, request_ctx& ctx, const key_source& source)
{
    const ngx_int_t rc = check_key(r, ctx, source);
    if (rc == NGX_OK && location_conf_of(r)->admin && !ctx.decided.is_admin) {
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
