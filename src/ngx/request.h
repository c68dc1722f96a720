// What this module knows of one request, from its key to its settlement.
#pragma once

#include "conf.h"
#include "model_conf.h"
#include "reply_edit.h"

#include "core/api/refusal.h"
#include "core/reply/usage.h"
#include "core/request/form_facts.h"
#include "core/request/prompt_hash.h"
#include "core/request/request_facts.h"
#include "core/shared/estimate.h"
#include "core/shared/request_end.h"

#include <new>

namespace llm {

// How far a request is. A refusal leaves it where it is: error_page may lead it to a location that lets it
// in.
enum class request_step : uint8_t {
    arrived,      // nothing of it was looked at
    keyless,      // it has no key
    keyed,        // its key was taken out of the headers
    reading_body, // nginx reads the body, request_body.cpp looks on
    body_read,    // what it asks is known, or what is wrong with it
    admitted,     // it holds its lease
    settled,      // what it used was charged, and the lease is gone
};

// What is kept of one request. It lives as long as the request's pool, and is found again after internal
// redirects. Each group is written by the source file that it names, and read by all.
struct request_ctx {
    // The reply: reply_filter.cpp. What each of its chunks needs lies together, see usage_reader.
    struct {
        reply_edit_state edit;
        off_t to_come = -1; // bytes of the body that its Content-Length still promises; below 0: unknown
        ngx_msec_int_t first_content_ms = -1; // since the request began
        token_ratios ratios;                  // of a stream that is read
        bool reading = false;
        bool complete = false;             // all of the reply passed
        bool given_up = false;             // it will not come
        bool drains = false;               // the client has left, and the upstream is read to its end
        bool compressed = false;           // nothing of it can be read
        struct model_list* list = nullptr; // of which models are taken out that its key may not use
    } reply;

    request_step step = request_step::arrived; // by whoever takes it
    refusal refused = refusal::none;           // refuse.cpp
    bool refusal_is_left = false;              // refuse.cpp: to others, who may let it in all the same
    uint16_t refused_as = 0;                   // refuse.cpp: its status
    strip_what strip = strip_what::nothing;    // request_edit.cpp: of a stream for whose usage it asked

    lease* held = nullptr; // access.cpp: of a request that is admitted

    // Its place among those of this worker that hold a lease: running.cpp.
    struct {
        ngx_queue_t link;
        ngx_http_request_t* request;
        uint8_t tries; // to end it
    } running;

    // A stream that outgrows its lease: reply_cut.cpp.
    struct {
        bool watched = false; // limits of tokens want to see how long the stream gets
        bool hard = false;    // a hard limit may end it
        bool due = false;     // the stream ends as soon as an event is whole
        bool done = false;
        stop_reason why = stop_reason::none; // none: a hard limit
        uint64_t granted = 0;                // tokens that the lease holds, weighted
    } cut;

    // A request's body is read (request_body.cpp) before its reply (reply_filter.cpp): one room serves both.
    union {
        request_facts facts;
        form_facts form; // while asked.reads_form
        usage_reader usage;
    };

    // What it has used: accounting.cpp.
    struct {
        token_counts used;
        uint64_t cost = 0;                                 // weighted, once it is over
        usage_source source = usage_source::none;          // likewise
        usage_source progress_source = usage_source::none; // what that will be, if the reply ends here
    } account;

    // How it ended: request.cpp, when it is settled or, without a lease, at its end.
    struct {
        outcome is = outcome::unknown;
        refusal by = refusal::none; // why it was refused
        ngx_msec_int_t ms = 0;      // since it began
    } end;

    // How long this module took for it, if that is measured: own_time.cpp.
    struct {
        bool is_measured = false;
        uint64_t ns = 0;
    } own;

    // What was decided: access.cpp and decide.cpp.
    struct {
        const key_source* admitted_by = nullptr; // the key file that let it in last
        const key_source* leased_by = nullptr;   // the key file that the lease was taken with
        zone_conf* zone = nullptr;               // of the lease; before that, where it asked for a key last
        limit_report report;                     // how the key's limits stood then
    } decided;
    // Of its key, out of the zone: key_check.cpp.
    struct {
        ngx_str_t key = ngx_null_string;
        ngx_str_t user = ngx_null_string;
        ngx_str_t plan = ngx_null_string;
        ngx_str_t user_from = ngx_null_string; // the header that names the user
        bool named_user = false;               // `user` is what that said
        bool is_admin = false;                 // the key is good for llm_admin
        bool picks_models = false;             // it may use certain models only
    } names;

    union {
        ngx_str_t refused_detail = ngx_null_string; // refuse.cpp: of a refusal that is left to error_page
        limit_refusal cut_by;                       // reply_cut.cpp: where a cut is due or done
    };

    // By which row of the table of models it goes: model_choice.cpp. Where there is none, nothing is set.
    struct {
        const model_level* level = nullptr;
        const model_row* row = nullptr;
        ngx_str_t counted = ngx_null_string; // the name under which it is counted and limited
        bool renames = false;                // the upstream knows the model by the row's `as`
    } routed;
    // What stands in the body, the path and the query in place of the client's name: model_edit.cpp.
    struct {
        ngx_str_t name = ngx_null_string; // without data: none
        byte_range at = {};               // in the body
        bool is_edited = false;
    } sent;
    // A body that was edited: request_edit.cpp.
    struct {
        uint64_t bytes = 0;    // of it; 0: it was not
        bool is_bare = false;  // nothing stays before the place at which members are added
        bool has_more = false; // some were added there
    } edited;

    // The digest of its key, which itself is not kept: credentials.cpp. Of one that came with no key, of the
    // name that `identity` gave it.
    digest credential{};
    bool misspelt_key = false; // something that may be a key came, in no form that is taken
    bool by_name = false;

    // What it asks: request_body.cpp.
    struct {
        ngx_str_t model = ngx_null_string;       // without data: none is named
        ngx_str_t more_models = ngx_null_string; // that servers may turn to; each with a NUL behind it
        request_size size;                       // what the estimate was made from
        uint32_t prompts = 1;
        bool stream = false;
        bool has_body = false;
        bool names_fields = false;  // the reply may leave out what it used
        bool reads_form = false;    // the body is read as multipart/form-data
        bool unread = false;        // the body is left to nginx: nothing is known of it
        bool unclear_model = false; // servers may read another model than this one
        body_fault fault = body_fault::none;
        // Where the body names its model, or may be made to.
        struct {
            byte_range at = {};    // of the value; empty: where a member may be put
            uint64_t header = 0;   // of a form: where its part's Content-Disposition begins, behind the colon
            uint64_t body = 0;     // bytes of the body
            bool is_known = false; // there is such a place
            bool is_first = false; // a member put there would be the only one
            bool is_long = false;  // it has "models/" before the name
        } place;
        prompt_hash* prompt = nullptr; // in the pool, where it is wanted

        bool names_model() const { return model.data != nullptr; }
    } asked;

    // Known from its begin.
    const api_call call; // what its first path says, and whose API the client speaks wherever redirects lead
    const errors_as errors; // as in the location in which it asked for a key first
    main_conf* const home;  // where its room came from, and goes

    // Not facts(), which would clear its texts.
    request_ctx(const api_call& path, const errors_as& shape, main_conf* from)
        : call(path), errors(shape), home(from)
    {
        new (&facts) request_facts;
    }

    bool holds_lease() const { return step == request_step::admitted; }
    // Under which it is counted and limited: a name and Gemini's long form of it are one.
    std::string_view counted_model() const
    {
        return short_model_name(view(routed.counted.data ? routed.counted : asked.model));
    }
    bool knows_body() const { return step >= request_step::body_read; }
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

// It was refused, and that is what became of it: under "satisfy any" another access module may have let it
// in, and a subrequest that was refused need not end its main request. Whatever page error_page then answers
// with, it was not let in.
bool stands_refused(const ngx_http_request_t* r, const request_ctx& ctx);

// As llm_errors says, else by the path that the client asked for: wherever redirects lead, that is the API
// that the client speaks.
api asked_api(ngx_http_request_t* r);

// The request has lost its client, or was taken from it: whatever it came to is not the upstream's doing.
bool client_left(const ngx_http_request_t* r);

// It asks for nothing to be made (GET, HEAD, OPTIONS, DELETE), by the method as it was sent: with an internal
// redirect nginx makes a GET of any.
bool only_reads(const ngx_http_request_t* r);
// Nor is anything deleted.
bool only_looks(const ngx_http_request_t* r);

// The API whose path the client has asked for; as api_of_path(), but by the method too.
api api_by_path(const ngx_http_request_t* r);
// What this path says of the request, by its method too.
api_call call_by_path(const ngx_http_request_t* r, std::string_view path);

// Milliseconds since the request began.
ngx_msec_int_t elapsed_ms(ngx_http_request_t* r);

} // namespace llm
