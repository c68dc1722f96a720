// What this module knows of one request, from its key to its settlement.
#pragma once

#include "conf.h"
#include "reply_edit.h"

#include "core/shared/estimate.h"
#include "core/api/refusal.h"
#include "core/request/request_facts.h"
#include "core/reply/usage.h"

#include <new>

namespace llm {

// How the request ended, the value of $llm_outcome.
enum class outcome : uint8_t { unknown, ok, incomplete, refused, client_abort, upstream_error, cut };

enum class usage_source : uint8_t { none, estimated, partial, upstream };

// Lives as long as the request's pool, and is found again after internal redirects.
struct request_ctx {
    // The reply. What each of its chunks needs lies together, see usage_reader.
    lease* held = nullptr; // from admission to settlement
    bool reading_reply = false;
    bool complete = false; // all of the reply passed
    bool given_up = false; // it will not come
    bool drains = false;   // the client has left, and the upstream is read to its end
    bool watched = false;  // limits of tokens want to see how long the stream gets
    bool to_cut = false;   // a hard limit ends the stream, as soon as an event is whole
    bool is_cut = false;
    outcome ended = outcome::unknown;
    usage_source source = usage_source::none;
    reply_edit_state edit;
    off_t to_come = -1; // bytes of the reply's body that its Content-Length still promises; below 0: unknown
    ngx_msec_int_t first_content_ms = -1; // since the request began
    ngx_msec_int_t ended_ms = 0;          // likewise: when it was settled
    uint64_t granted = 0;                 // tokens that the lease holds, weighted
    token_ratios ratios;                  // of a stream that is read

    // A request's body is read before its reply: one room serves both.
    union {
        request_facts facts;
        usage_reader usage;
    };
    token_counts used;
    usage_source used_by = usage_source::none; // of a reply that is complete, or would be its source

    // What was decided.
    const key_source* admitted_by = nullptr; // the key file that let it in last
    zone_conf* zone = nullptr;               // of the lease
    limit_report report;                     // how the key's limits stood then
    request_size size;                       // what the estimate was made from
    union {
        ngx_str_t refused_detail = ngx_null_string; // of a refusal that is left to error_page
        limit_refusal cut_by;                       // where is_cut or to_cut
    };

    // Who asks. The digest is kept instead of the key, which is taken out of the request.
    bool has_key = false;
    digest key{};
    refusal refused = refusal::none;
    errors_as errors = errors_as::unset; // as in the location in which it asked for a key first
    ngx_str_t key_name = ngx_null_string;
    ngx_str_t user = ngx_null_string;
    ngx_str_t plan = ngx_null_string;

    // What is asked.
    bool body_read = false; // `fault` is the verdict on the body, if there is one
    bool has_body = false;
    bool limited = false; // its key or its location has limits; set where the key is checked by itself
    bool coded = false;   // the upstream's reply is compressed, so that nothing of it can be read
    bool reading_body = false;
    bool unread_form = false; // multipart/form-data: nothing of it is known, once the body is read
    body_fault fault = body_fault::none;
    bool named_model = false;
    bool stream = false;
    strip_what strip = strip_what::nothing; // of a stream for whose usage the gateway asked
    uint32_t prompts = 1;
    ngx_str_t model = ngx_null_string;

    main_conf* home; // where its room came from, and goes

    // Not facts(), which would clear its texts.
    explicit request_ctx(main_conf* home) : home(home) { new (&facts) request_facts; }
};

// Of a main request whose own pointer to the context was cleared; also sets that again.
request_ctx* find_lost_request(ngx_http_request_t* r);

// The context of this request's main request, or nullptr.
inline request_ctx* find_request(ngx_http_request_t* r)
{
    r = r->main;
    auto* ctx = static_cast<request_ctx*>(ngx_http_get_module_ctx(r, ngx_http_llm_module));
    return ctx || !(r->internal || r->filter_finalize) ? ctx : find_lost_request(r);
}

// The same, made if there is none; nullptr if there is no memory.
request_ctx* find_or_make_request(ngx_http_request_t* r);

// Ends the lease that the request holds, if it does, and charges what was used. To be called when no more of
// the reply is to come.
void settle(ngx_http_request_t* r);

// Lets the end of the request, however it comes, settle the lease that its context then holds. False if there
// is no memory.
bool settle_at_end(ngx_http_request_t* r);

// What the reply that is being read has used so far, as the upstream tells it, and where it does not, as it
// is reckoned. `source` says which, for a reply that ends here.
struct usage_so_far {
    token_counts tokens;
    usage_source source;
};
usage_so_far reckon(const request_ctx& ctx);
// By what this request's tokens are reckoned.
token_ratios ratios_of(const request_ctx& ctx);

// What the request has used, when it is over: sets `used` and `source`.
void account(ngx_http_request_t* r, request_ctx& ctx);
// Takes it as a lesson for later estimates, if the upstream has told all of it. To be called once it is known
// how the request ended.
void learn_from(const request_ctx& ctx);

inline token_counts progress_of(const token_counts& counts)
{
    return {counts.prompt, counts.cached, counts.completion, counts.reasoning, counts.cache_write};
}

// The request has lost its client, or was taken from it: whatever it came to is not the upstream's doing.
bool client_left(const ngx_http_request_t* r);

// Milliseconds since the request began.
ngx_msec_int_t elapsed_ms(ngx_http_request_t* r);

// What the zone is asked for this request, under the limits of its present location.
admission_request describe(ngx_http_request_t* r, const request_ctx& ctx, const key_source& source,
                           const moment& now);

// --- the steps of a request, in the order in which it meets them

ngx_int_t access_handler(ngx_http_request_t* r);
// Takes the key out of the request's headers; see credentials.cpp.
bool take_credential(ngx_http_request_t* r, request_ctx& ctx);
// The getter of the variables that show a header which may carry a key.
ngx_int_t key_header_variable(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t data);
// Refuses a body that is compressed: what it asks for could not be read.
refusal check_coding(ngx_http_request_t* r);
// Looks at the body where nginx has all of it already, before it is read; nothing is waited for. False if it
// is still to be read, or somebody has read it.
bool scan_body_ahead(ngx_http_request_t* r, request_ctx& ctx);
// As if the body had not been looked at: what stands in a request is not told of one whose key is wrong.
void forget_body(request_ctx& ctx);
// Reads the body if there is one. NGX_OK: there is nothing to wait for; else what the access handler has to
// return.
ngx_int_t read_body(ngx_http_request_t* r, request_ctx& ctx);
// What stands in the way of ask_for_usage() in a body without a fault, for the client to read; else empty.
std::string_view usage_fault(ngx_http_request_t* r, const request_ctx& ctx);
// Edits the body so that the upstream tells the usage of a stream whose client does not ask for it, if the
// location wants that. To be called once the request is let in. False if there is no memory, or the body can
// not be written where it lies.
bool ask_for_usage(ngx_http_request_t* r, request_ctx& ctx);
// Answers with a refusal. Returns what the access handler has to return.
// `wait_ms` is how long a limit lasts, 0 if that is not known.
[[gnu::cold]] ngx_int_t refuse(ngx_http_request_t* r, request_ctx& ctx, refusal why,
                               std::string_view detail = {}, uint64_t wait_ms = 0);

// A stream has used `used` weighted tokens: takes more for it, in steps, and marks it if a hard limit is to
// end it.
void extend_lease(ngx_http_request_t* r, request_ctx& ctx, uint64_t used);
// The event that ends a stream. nullptr if there is no memory.
ngx_chain_t* cut_stream(ngx_http_request_t* r, request_ctx& ctx);
// What of a chain still goes out after that: its end only. The rest counts as sent.
ngx_chain_t* ends_of(ngx_http_request_t* r, ngx_chain_t* in);

// Puts this module's filters before those that are there.
void install_request_body_filter();
void install_reply_filters();

} // namespace llm
