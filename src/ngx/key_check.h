// What the zone says of a request's key, and whose it is.
#pragma once

#include "request.h"

#include <optional>
#include <string_view>

namespace llm {

// What the zone is asked for this request, under the limits of its present location.
admission_request describe(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source,
                           const moment& now);

// Whether the zone knows the request's key and lets it in here; a wrong one is counted where `failures`
// limits that. Keeps the key's names. Nothing if there is no memory.
std::optional<admission_result> look_at_key(ngx_http_request_t* r, request_ctx& ctx,
                                            const key_source& source);
// The same: NGX_OK, or what refuse() returned.
ngx_int_t check_key(ngx_http_request_t* r, request_ctx& ctx, const key_source& source);
// The rules for its requests of the key that look_at_key() has found last; they hold until its next call.
std::string_view rules_of_last_key();

// The request's key as it is now, whatever may be said of it: its file may have been changed since it was let
// in. nullptr: it is gone. Holds as long as the session.
const shared_key* present_key(const zone_session& session, const key_source& source, const request_ctx& ctx);

// Why a request is refused of which the zone said this; not to be asked of one that is let in.
refusal refusal_of(const admission_result& result);
// A refusal of what the zone said; for a limit, `by` says more. What refuse() returned.
ngx_int_t refuse_for(ngx_http_request_t* r, request_ctx& ctx, verdict said, const limit_refusal& by);
bool is_about_key(verdict said, const limit_refusal& by);
// What would be refused, were it not for a dry run.
void log_dry_run(ngx_http_request_t* r, uint64_t refusals);

// A key's names, out of the zone: its table may be replaced while the request runs.
class key_names {
public:
    // Needs the zone's lock.
    void copy(const shared_key& key)
    {
        key_size_ = key.name.view().copy(key_, sizeof key_);
        user_size_ = key.user.view().copy(user_, sizeof user_);
        plan_size_ = key.policy->plan.view().copy(plan_, sizeof plan_);
        header_size_ = key.policy->user_from.view().copy(header_, sizeof header_);
        picks_models_ = key.policy->n_models != 0;
    }
    // Into the request, if there was a key. False if there is no memory.
    bool keep(ngx_http_request_t* r, request_ctx& ctx) const;

private:
    bool picks_models_ = false;
    size_t key_size_ = 0;
    size_t user_size_ = 0;
    size_t plan_size_ = 0;
    size_t header_size_ = 0;
    char key_[max_name];
    char user_[max_name];
    char plan_[max_name];
    char header_[max_name];
};

// Who asks, by the header that the key's `user_from` names, into the request. Returns what is wrong with it.
std::string_view read_user(ngx_http_request_t* r, const request_ctx& ctx, admission_request& request);
// That is whom the request is for.
void name_user(request_ctx& ctx, std::string_view user);

} // namespace llm
