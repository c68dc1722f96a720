// What this module knows of one request, from its key to its settlement.
#pragma once

#include "conf.h"
#include "reply_edit.h"

#include "core/api/refusal.h"
#include "core/reply/usage.h"
#include "core/request/request_facts.h"
#include "core/shared/estimate.h"

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
    const key_source* leased_by = nullptr;   // the key file that the lease was taken with
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
    // What the path says: the one of its first location, and whose API it is by the path that the client
    // asked for, which is what the client speaks wherever redirects lead.
    api_call call;
    errors_as errors; // as in the location in which it asked for a key first
    ngx_str_t key_name = ngx_null_string;
    ngx_str_t user = ngx_null_string;
    ngx_str_t plan = ngx_null_string;

    // What is asked.
    bool body_read = false; // `fault` is the verdict on the body, if there is one
    bool has_body = false;
    bool compressed = false; // the upstream's reply is compressed, so that nothing of it can be read
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

    void name_model_by_path()
    {
        named_model = !call.model.empty();
        model = named_model ? to_ngx(call.model) : ngx_str_t{0, nullptr};
    }
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

// As llm_errors says, else by the path that the client asked for: wherever redirects lead, that is the API
// that the client speaks.
api asked_api(ngx_http_request_t* r);

// The request has lost its client, or was taken from it: whatever it came to is not the upstream's doing.
bool client_left(const ngx_http_request_t* r);

// Milliseconds since the request began.
ngx_msec_int_t elapsed_ms(ngx_http_request_t* r);

} // namespace llm
