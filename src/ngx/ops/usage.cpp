// llm_usage: for the owner of a key.

#include "usage.h"

#include "json_writer.h"
#include "limits_json.h"
#include "page.h"

#include "core/limit/quota.h"
#include "core/shared/book.h"
#include "core/shared/limit_state.h"
#include "ngx/clock.h"
#include "ngx/content.h"
#include "ngx/credentials.h"
#include "ngx/request.h"
#include "ngx/zone.h"

#include <algorithm>
#include <array>
#include <span>

namespace llm {

namespace {

// Models that are looked for with the zone locked once.
constexpr uint32_t slice = 64;

struct used_model {
    uint8_t name_len;
    char name[lease::max_model];
    book_counts counts;
};

struct key_usage {
    bool known = false; // else it is gone since it was checked
    size_t n_own = 0;   // limits of the key
    size_t n_users = 0; // and of its user
    std::array<limit_state, max_limit_states> own;
    std::array<limit_state, max_limit_states> users;
    int64_t expires = 0;
};

const subject* find(const shared_state& state, subject_kind kind, std::string_view name)
{
    const uint32_t number = name.empty() ? no_index : state.subjects().find(kind, name);
    return number != no_index ? &state.subjects().at(number) : nullptr;
}

// How the key stands under the limits of this location.
key_usage look(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source)
{
    key_usage usage;
    const auto rules = rules_of(*location_conf_of(r));
    const moment now = now_of_both_clocks();
    zone_session session(*source.zone);
    shared_key* key = nullptr;
    if (session->keys()) {
        session->keys()->check(source.id, ctx.credential, {}, now.unix_ms / 1000, key);
    }
    if (!key) {
        return usage;
    }
    usage.known = true;
    usage.expires = key->expires;
    usage.n_own = limit_states(*key->policy, find(*source.zone->state, subject_kind::key, key->name.view()),
                               rules, now, usage.own);
    const subject_table& subjects = session->subjects();
    const uint32_t user = key->user.size != 0 ? subjects.find_user(key->user.view()) : no_index;
    usage.n_users =
        limit_states_of_user(user != no_index ? &subjects.at(user) : nullptr, rules, now, usage.users);
    return usage;
}

// What the key has used of each model, in the pool. False if there is no memory.
bool find_models(ngx_http_request_t* r, const request_ctx& ctx, const zone_conf& zone,
                 std::span<used_model>& found)
{
    const shared_state& state = *zone.state;
    const book& counted = state.counted();
    const book_names names = state.names_of(view(ctx.names.key), view(ctx.names.user), {});
    uint32_t client = no_index;
    size_t most = 0;
    {
        zone_session session(zone);
        client = counted.find_client(names);
        most = client != no_index ? counted.clients().at(client).series : 0;
    }
    auto* models = static_cast<used_model*>(ngx_palloc(r->pool, (most + 1) * sizeof(used_model)));
    if (!models) {
        return false;
    }
    size_t n = 0;
    for (uint32_t at = 0, end = counted.models().high_water(); at < end && n < most;) {
        zone_session session(zone);
        if (counted.find_client(names) != client) {
            break; // it was made anew, or folded
        }
        for (uint32_t i = 0; i < slice && at < end && n < most; i++, at++) {
            const uint32_t series = counted.find_series(client, at);
            if (series != no_index) {
                used_model& m = models[n++];
                m.name_len =
                    static_cast<uint8_t>(counted.models().at(at).name().copy(m.name, lease::max_model));
                m.counts = counted.series().at(series).counts;
            }
        }
    }
    found = {models, n};
    return true;
}

book_period of_now(const book_period& p, uint32_t number)
{
    return p.number == number
               ? p
               : book_period{.requests = 0, .prompt = 0, .completion = 0, .cost = 0, .number = number};
}

void put_period(json_writer& out, const book_period& p)
{
    out.field("requests", p.requests);
    out.field("prompt_tokens", p.prompt);
    out.field("completion_tokens", p.completion);
    out.field("total_tokens", p.prompt + p.completion);
    out.field("cost", p.cost);
}

// The begin of the day or the month, UTC.
void put_since(json_writer& out, bool month)
{
    ngx_tm_t tm;
    ngx_gmtime(ngx_time(), &tm);
    u_char text[64];
    const u_char* end = ngx_snprintf(text, sizeof text, "%4d-%02d-%02dT00:00:00Z", tm.ngx_tm_year,
                                     tm.ngx_tm_mon, month ? 1 : tm.ngx_tm_mday);
    out.field("since", std::string_view(reinterpret_cast<char*>(text), static_cast<size_t>(end - text)));
}

void put_models(json_writer& out, std::span<const used_model> models)
{
    const uint32_t hour = hour_of(wall_clock_ms());
    const uint32_t day = quota_period(quota_window::day, hour);
    const uint32_t month = quota_period(quota_window::month, hour);
    book_period today = of_now({}, day);
    book_period this_month = of_now({}, month);
    for (const used_model& m : models) {
        today.add(of_now(m.counts.day, day));
        this_month.add(of_now(m.counts.month, month));
    }
    for (const bool is_month : {false, true}) {
        out.name(is_month ? "month" : "today");
        out.begin_object();
        put_since(out, is_month);
        put_period(out, is_month ? this_month : today);
        out.end_object();
    }
    out.name("models");
    out.begin_array();
    for (const used_model& m : models) {
        const book_period in_month = of_now(m.counts.month, month);
        if (in_month.requests == 0) {
            continue;
        }
        out.begin_object();
        out.field("name", std::string_view(m.name, m.name_len));
        out.name("today");
        out.begin_object();
        put_period(out, of_now(m.counts.day, day));
        out.end_object();
        out.name("month");
        out.begin_object();
        put_period(out, in_month);
        out.end_object();
        out.end_object();
    }
    out.end_array();
}

} // namespace

ngx_int_t usage_handler(ngx_http_request_t* r)
{
    ngx_int_t rc = begin_content(r);
    if (rc != NGX_OK) {
        return rc;
    }
    if (auto sent = offer_page(r, usage_page, has_identity(r) ? " data-known" : "")) {
        return *sent;
    }
    const key_source* source = location_conf_of(r)->keys;
    const request_ctx* ctx = find_request(r);
    // Only the access phase knows whose key it is; a subrequest has none.
    if (!source || !ctx || ctx->names.key.len == 0) {
        return NGX_HTTP_FORBIDDEN;
    }
    const key_usage usage = look(r, *ctx, *source);
    std::span<used_model> models;
    if (!find_models(r, *ctx, *source->zone, models)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    chain_writer text(r->pool);
    json_writer out(text);
    out.begin_object();
    out.field("key", view(ctx->names.key));
    out.field("user", view(ctx->names.user));
    out.field("plan", view(ctx->names.plan));
    put_expiry(out, usage.expires);
    out.name("limits");
    put_limits(out, {{"key", std::span(usage.own).first(usage.n_own)},
                     {"user", std::span(usage.users).first(usage.n_users)}});
    put_models(out, models);
    out.end_object();
    text.put("\n");
    return send_content(r, text, "application/json");
}

} // namespace llm
