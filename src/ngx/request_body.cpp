// The request's body: looked at as it arrives, so that a body that nginx writes to a file is not read back.

#include "request_body.h"

#include "headers_in.h"
#include "own_time.h"

#include "core/api/model_table.h"
#include "core/request/query_model.h"

#include <algorithm>

namespace llm {

namespace {

ngx_http_request_body_filter_pt next_request_body_filter;

// 0 where the request says nothing; what is not clear is taken for the most.
uint32_t bound_of(const request_bound& bound)
{
    switch (bound.is) {
    case request_bound::state::absent:
        return 0;
    case request_bound::state::value:
        return static_cast<uint32_t>(std::min<uint64_t>(bound.value, token_estimator::max_completion));
    case request_bound::state::unbounded:
        break;
    }
    return token_estimator::max_completion;
}

// What the body names. If the path names a model too, that one is the request's: it is what servers go by
// that have it there. The body's goes before the query's.
void name_model_by_body(ngx_http_request_t* r, request_ctx& ctx, std::string_view model)
{
    if (ctx.asked.names_model() && short_model_name(model) != short_model_name(view(ctx.asked.model))) {
        ctx.asked.unclear_model = true;
    }
    if (ctx.call.model.empty()) {
        ctx.asked.model = copy_text(r->pool, model);
    }
}

// Most servers read no query beside a body: one that names no model leaves it to them which one it is.
void note_unnamed(request_ctx& ctx)
{
    ctx.asked.unclear_model = ctx.asked.unclear_model || (ctx.asked.names_model() && ctx.call.model.empty());
}

// A body that names no model can be made to.
void note_place(request_ctx& ctx)
{
    const request_facts& facts = ctx.facts;
    const bool is_there = facts.model_value().size() != 0;
    ctx.asked.place = {.at = is_there ? facts.model_value() : byte_range{facts.root_end(), facts.root_end()},
                       .body = facts.bytes(),
                       .is_known = true,
                       .is_first = facts.empty(),
                       .is_long = short_model_name(facts.model()) != facts.model()};
}

void conclude_form(ngx_http_request_t* r, request_ctx& ctx)
{
    form_facts& form = ctx.form;
    form.finish();
    ctx.asked.has_body = form.bytes() != 0;
    if (ctx.asked.has_body && form.is() != form_facts::kind::form) {
        // A server that does not look at the type would read anything else as JSON.
        ctx.asked.fault = body_fault::not_a_form;
    } else if (ctx.asked.has_body) {
        ctx.asked.unclear_model = ctx.asked.unclear_model || form.unclear();
        // Files are what a model reads only where there is one: others are uploaded.
        ctx.asked.size = {form.prompt_bytes(), 0, 1, form.has_model() ? form.files() : 0};
        if (form.has_model()) {
            name_model_by_body(r, ctx, form.model());
            ctx.asked.place = {.at = form.model_at(),
                               .header = form.model_disposition(),
                               .body = form.bytes(),
                               .is_known = true,
                               .is_long = short_model_name(form.model()) != form.model()};
        } else {
            note_unnamed(ctx);
        }
    }
    ctx.asked.reads_form = false;
    new (&ctx.facts) request_facts;
}

void conclude(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.step = request_step::body_read;
    if (ctx.asked.reads_form) {
        conclude_form(r, ctx);
        return;
    }
    // nginx reads no body where there was none to read after all (Content-Length: 0, an empty chunked body).
    ctx.asked.has_body = ctx.facts.bytes() != 0;
    if (!ctx.asked.has_body) {
        return;
    }
    ctx.asked.fault = ctx.facts.finish();
    if (ctx.asked.fault != body_fault::none) {
        return;
    }
    ctx.asked.stream = ctx.call.streams || ctx.facts.may_stream()
                       || (ctx.facts.leaves_stream_open() && ctx.call.streams_unasked);
    ctx.asked.prompts = ctx.facts.prompts();
    ctx.asked.names_fields = ctx.facts.names_fields();
    const request_media& media = ctx.facts.media();
    ctx.asked.size = {ctx.facts.bytes() - media.bytes(), bound_of(ctx.facts.max_tokens(ctx.call.bounds)),
                      request_size::choices_of(ctx.facts.choices(), ctx.facts.prompts()), media.count()};
    if (ctx.facts.has_model()) {
        name_model_by_body(r, ctx, ctx.facts.model());
    } else {
        note_unnamed(ctx);
    }
    if (main_conf_of(r)->models.nelts != 0) {
        note_place(ctx);
    }
    ctx.asked.unclear_model = ctx.asked.unclear_model || ctx.facts.unclear_models();
    if (const std::string_view more = ctx.facts.more_models(); !more.empty()) {
        ctx.asked.more_models = copy_text(r->pool, more);
        ctx.asked.unclear_model = ctx.asked.unclear_model || !ctx.asked.more_models.data;
        // Where other members name the model, it may be that `model` does not.
        if (!ctx.asked.names_model() && ctx.call.names_models != 0 && ctx.asked.more_models.data) {
            ctx.asked.model = {more.find('\0'), ctx.asked.more_models.data};
        }
    }
}

void hash_prompt(request_ctx& ctx, std::string_view piece)
{
    if (ctx.asked.prompt) {
        ctx.asked.prompt->feed(piece);
    }
}

void feed(request_ctx& ctx, std::string_view piece)
{
    if (!ctx.asked.reads_form) {
        ctx.facts.feed(piece);
        hash_prompt(ctx, piece);
        return;
    }
    const size_t taken = ctx.form.feed(piece);
    if (ctx.form.is() != form_facts::kind::object) {
        return;
    }
    // It is JSON, whatever its type says. What came before it is white space.
    constexpr std::string_view spaces = "                                ";
    uint64_t before = ctx.form.bytes();
    ctx.asked.reads_form = false;
    new (&ctx.facts) request_facts;
    ctx.facts.look_for_models_in(ctx.call.names_models);
    while (before != 0) {
        const size_t size = std::min<uint64_t>(before, spaces.size());
        ctx.facts.feed(spaces.substr(0, size));
        before -= size;
    }
    ctx.facts.feed(piece.substr(taken));
    hash_prompt(ctx, piece.substr(taken));
}

std::string_view bytes_of(const ngx_buf_t* b)
{
    return {reinterpret_cast<char*>(b->pos), static_cast<size_t>(b->last - b->pos)};
}

void body_here(ngx_http_request_t* r)
{
    request_ctx* ctx = find_request(r);
    conclude(r, *ctx);
    // The reader has set it to a handler that does nothing, with which the request would hang.
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}

// Rules may be in force, for which it has to be known where the body's members are.
void keep_members(ngx_http_request_t* r, request_ctx& ctx)
{
    const location_conf& lcf = *location_conf_of(r);
    if (!lcf.request && !lcf.keys->zone->state->rules_requests()) {
        return;
    }
    constexpr size_t room = body_members::usual;
    auto* members = static_cast<body_member*>(ngx_palloc(r->pool, room * sizeof(body_member)));
    if (members) {
        ctx.facts.keep_members({members, room});
    }
}

// Feeds a body that nginx has read. False if its file cannot be read.
bool feed_kept_body(ngx_http_request_t* r, request_ctx& ctx)
{
    constexpr size_t piece = 16384;
    u_char* memory = nullptr;

    for (ngx_chain_t* cl = r->request_body->bufs; cl; cl = cl->next) {
        ngx_buf_t* b = cl->buf;
        if (ngx_buf_in_memory(b)) {
            feed(ctx, bytes_of(b));
            continue;
        }
        for (off_t at = b->file_pos; at < b->file_last;) {
            if (!memory) {
                memory = static_cast<u_char*>(ngx_pnalloc(r->pool, piece));
            }
            size_t size = static_cast<size_t>(ngx_min(b->file_last - at, static_cast<off_t>(piece)));
            ssize_t n = memory ? ngx_read_file(b->file, memory, size, at) : NGX_ERROR;
            if (n <= 0) {
                return false;
            }
            feed(ctx, {reinterpret_cast<char*>(memory), static_cast<size_t>(n)});
            at += n;
        }
    }
    return true;
}

// Another module has read the body before there was a context to look on, for example in a location that this
// one was redirected from.
ngx_int_t scan_kept_body(ngx_http_request_t* r, request_ctx& ctx)
{
    if (!feed_kept_body(r, ctx)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    conclude(r, ctx);
    return NGX_OK;
}

bool has_no_body(ngx_http_request_t* r)
{
    return r->discard_body || (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked);
}

bool is_form(std::string_view type)
{
    constexpr std::string_view form = "multipart/form-data";
    return same_without_case(type.substr(0, form.size()), form);
}

// What reads the body: by its type, though a form's first bytes have a say too.
void begin_reading(ngx_http_request_t* r, request_ctx& ctx)
{
    if (ctx.home->hashes_prompts) {
        void* memory = ngx_palloc(r->pool, sizeof(prompt_hash));
        ctx.asked.prompt = memory ? new (memory) prompt_hash{} : nullptr;
    }
    const ngx_table_elt_t* type = r->headers_in.content_type;
    if (!type || !is_form(view(type->value))) {
        if (ctx.asked.reads_form) {
            ctx.asked.reads_form = false;
            new (&ctx.facts) request_facts;
        }
        ctx.facts.look_for_models_in(ctx.call.names_models);
        keep_members(r, ctx);
        return;
    }
    ctx.asked.reads_form = true;
    new (&ctx.form) form_facts(form_boundary(view(type->value)));
    // A server may go by another one.
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (&header != type && lowcase_name(header) == "content-type") {
            ctx.asked.unclear_model = true;
        }
    });
}

ngx_int_t request_body_filter(ngx_http_request_t* r, ngx_chain_t* in)
{
    request_ctx* ctx = find_request(r);
    if (ctx && ctx->step == request_step::reading_body) {
        own_time time(*ctx);
        for (ngx_chain_t* cl = in; cl; cl = cl->next) {
            ngx_buf_t* b = cl->buf;
            if (ngx_buf_in_memory(b)) {
                feed(*ctx, bytes_of(b));
            }
        }
        time.stop(*ctx);
    }
    return next_request_body_filter(r, in);
}

} // namespace

refusal check_coding(ngx_http_request_t* r)
{
    refusal why = refusal::none;
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (lowcase_name(header) == "content-encoding" && header.value.len != 0
            && !same_without_case(view(header.value), "identity")) {
            why = refusal::unsupported_encoding;
        }
    });
    return why;
}

bool asks_websocket(ngx_http_request_t* r)
{
    constexpr std::string_view websocket = "websocket";
    if (!r->headers_in.upgrade) {
        return false;
    }
    bool asks = false;
    each_header_in(r, [&](const ngx_table_elt_t& header) {
        if (lowcase_name(header) != "upgrade") {
            return;
        }
        for (std::string_view value = view(header.value); value.size() >= websocket.size();) {
            asks = asks || same_without_case(value.substr(0, websocket.size()), websocket);
            value.remove_prefix(1);
        }
    });
    return asks;
}

bool needs_model(ngx_http_request_t* r, const request_ctx& ctx)
{
    switch (ctx.call.needs_model) {
    case model_need::always:
        return true;
    case model_need::to_change:
        return !only_looks(r) || asks_websocket(r);
    case model_need::to_make:
        return !only_reads(r) || asks_websocket(r);
    case model_need::none:
        break;
    }
    return asks_websocket(r);
}

bool hides(ngx_http_request_t* r, const request_ctx& ctx, hidden_parts what)
{
    return (ctx.call.hidden & what) != 0 && !only_reads(r->main);
}

void name_model_by_target(ngx_http_request_t* r, request_ctx& ctx)
{
    ctx.asked.model = ctx.call.model.empty() ? ngx_str_t{0, nullptr} : to_ngx(ctx.call.model);
    ctx.asked.unclear_model = ctx.call.unclear_model || hides(r, ctx, hidden_part::models);
    if (r->main->args.len == 0) {
        return;
    }
    char room[form_facts::max_model];
    const query_model found = model_in_query(view(r->main->args), room, sizeof room);
    ctx.asked.unclear_model = ctx.asked.unclear_model || found.unclear;
    if (!found.name.data()) {
        return;
    }
    if (ctx.asked.names_model()) {
        ctx.asked.unclear_model =
            ctx.asked.unclear_model || short_model_name(found.name) != short_model_name(ctx.call.model);
        return;
    }
    ctx.asked.model = copy_text(r->pool, found.name);
}

bool scan_body_ahead(ngx_http_request_t* r, request_ctx& ctx)
{
    if (r->request_body || has_no_body(r)) {
        if (r->request_body) {
            return false;
        }
        ctx.step = request_step::body_read;
        return true;
    }
    // In HTTP/2 other frames may follow the headers.
    bool is_http2 = r->http_version >= NGX_HTTP_VERSION_20;
    const ngx_buf_t* b = r->header_in;
    off_t size = r->headers_in.content_length_n;
    if (is_http2 || r->headers_in.chunked || b->last - b->pos < size) {
        return false;
    }
    begin_reading(r, ctx);
    const std::string_view body(reinterpret_cast<char*>(b->pos), static_cast<size_t>(size));
    if (ctx.asked.reads_form) {
        feed(ctx, body);
    } else {
        ctx.facts.feed_whole(body);
        hash_prompt(ctx, body);
    }
    conclude(r, ctx);
    return true;
}

bool find_members(ngx_http_request_t* r, request_ctx& ctx)
{
    if (ctx.facts.members().wanted()) {
        return true;
    }
    const uint64_t bytes = ctx.facts.bytes();
    new (&ctx.facts) request_facts;
    keep_members(r, ctx);
    if (!ctx.facts.members().wanted()) {
        return false;
    }
    if (!r->request_body) {
        feed(ctx, {reinterpret_cast<char*>(r->header_in->pos), bytes});
    } else if (!feed_kept_body(r, ctx)) {
        return false;
    }
    return ctx.facts.finish() == body_fault::none && ctx.facts.bytes() == bytes;
}

void note_bound(request_ctx& ctx, uint64_t tokens)
{
    const auto bound = static_cast<uint32_t>(std::min<uint64_t>(tokens, token_estimator::max_completion));
    uint32_t& now = ctx.asked.size.max_tokens;
    now = now == 0 ? bound : std::min(now, bound);
}

void leave_body_unread(request_ctx& ctx)
{
    ctx.asked.unread = true;
    ctx.asked.unclear_model = true; // whatever the path says
    ctx.step = request_step::body_read;
}

void forget_body(ngx_http_request_t* r, request_ctx& ctx)
{
    new (&ctx.facts) request_facts;
    ctx.step = request_step::keyed;
    ctx.asked = {};
    name_model_by_target(r, ctx);
}

ngx_int_t read_body(ngx_http_request_t* r, request_ctx& ctx)
{
    begin_reading(r, ctx);
    if (r->request_body) {
        return scan_kept_body(r, ctx);
    }
    if (has_no_body(r)) {
        ctx.step = request_step::body_read;
        return NGX_OK;
    }

    ctx.step = request_step::reading_body;
    ngx_int_t rc = ngx_http_read_client_request_body(r, body_here);
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ctx.step = request_step::keyed;
        return rc;
    }
    // The reader took a reference, and it answers the client itself where the rest of the body does not come:
    // the phases go on in body_here() only.
    ngx_http_finalize_request(r, NGX_DONE);
    return NGX_DONE;
}

void install_request_body_filter()
{
    next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = request_body_filter;
}

} // namespace llm
