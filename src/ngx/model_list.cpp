#include "model_list.h"

#include "key_check.h"
#include "reply_walk.h"
#include "request.h"
#include "zone.h"

#include "core/api/path_model.h"
#include "core/reply/reply_form.h"

#include <algorithm>
#include <new>

namespace llm {

namespace {

// More than what any server says of one model.
constexpr size_t max_held = 65536;

bool key_allows(void* request, std::string_view model)
{
    const auto& ctx = *static_cast<const request_ctx*>(request);
    const key_source& source = *ctx.decided.leased_by;
    zone_session session(*source.zone);
    const shared_key* key = present_key(session, source, ctx);
    return key && key->policy->allows_model(model);
}

// Bytes in memory of their own, of which those that stay are moved together.
struct piece {
    u_char* bytes;
    uint64_t offset; // of the first of them
    uint64_t at;     // up to here it is decided
    u_char* write;

    static void erase(void* self, uint64_t begin, uint64_t end)
    {
        auto& p = *static_cast<piece*>(self);
        p.keep(begin);
        p.at = end;
    }
    void keep(uint64_t end)
    {
        if (at < end) {
            ngx_memmove(write, bytes + (at - offset), end - at);
            write += end - at;
            at = end;
        }
    }
};

} // namespace

bool shows_models(const ngx_http_request_t* r)
{
    return only_reads(r) && lists_models(view(r->uri))
           && reply_form_of(view(r->headers_out.content_type)) == reply_form::json;
}

model_list* make_model_list(ngx_http_request_t* r, request_ctx& ctx)
{
    void* room = ngx_palloc(r->pool, sizeof(model_list));
    return room ? new (room) model_list{.cut = model_list_cut({key_allows, &ctx})} : nullptr;
}

bool model_list_edit::run(ngx_chain_t* in, ngx_chain_t*& out)
{
    for (ngx_chain_t* next = nullptr; in; in = next) {
        next = in->next; // now, since the chain may bend it
        ngx_buf_t* b = in->buf;
        const bool is_last = b->last_buf;
        const bool has_bytes = !bytes_of(b).empty();
        if (has_bytes && !take(b)) {
            return false;
        }
        if (is_last && !list_.failed && !list_.cut.finish()) {
            fail("it has no end");
        }
        if (has_bytes && is_last) {
            const uint8_t last_in_chain = b->last_in_chain;
            b = static_cast<ngx_buf_t*>(ngx_calloc_buf(request_->pool));
            if (!b) {
                return false;
            }
            b->last_in_chain = last_in_chain;
            b->last_buf = 1;
        }
        if ((is_last || !has_bytes) && !chain_.add(b)) {
            return false;
        }
    }
    out = chain_.finish();
    return true;
}

// A buffer's bytes, which are copied: what goes out is a piece of its own.
bool model_list_edit::take(ngx_buf_t* b)
{
    const std::string_view bytes = bytes_of(b);
    b->pos = b->last;
    b->file_pos = b->file_last;
    if (list_.failed) {
        return true;
    }
    const size_t held = list_.held.len;
    ngx_buf_t* copy = chain_.buffer(held + bytes.size());
    if (!copy) {
        return false;
    }
    char* to = reinterpret_cast<char*>(copy->pos);
    to += view(list_.held).copy(to, held);
    bytes.copy(to, bytes.size());
    const uint64_t offset = list_.cut.offset() - held;
    piece p = {.bytes = copy->pos, .offset = offset, .at = offset, .write = copy->pos};
    if (!list_.cut.feed(bytes, {piece::erase, &p})) {
        fail("it is not JSON");
    }
    if (!list_.failed) {
        p.keep(list_.cut.settled());
        const size_t left = static_cast<size_t>(list_.cut.offset() - p.at);
        if (left > max_held) {
            fail("one model's entry is too long");
        } else if (!hold({reinterpret_cast<char*>(copy->pos) + (p.at - offset), left})) {
            return false;
        }
    }
    copy->last = p.write;
    copy->flush = b->flush;
    return chain_.add(copy);
}

bool model_list_edit::hold(std::string_view bytes)
{
    if (bytes.size() > list_.held_room) {
        const size_t room = std::max(bytes.size(), list_.held_room * 2);
        list_.held.data = static_cast<u_char*>(ngx_pnalloc(request_->pool, room));
        if (!list_.held.data) {
            return false;
        }
        list_.held_room = room;
    }
    list_.held.len = bytes.copy(reinterpret_cast<char*>(list_.held.data), bytes.size());
    return true;
}

// The client gets a list that is cut off, which is no JSON, and not what it may not see.
void model_list_edit::fail(const char* why)
{
    list_.failed = true;
    list_.held.len = 0;
    ngx_log_error(NGX_LOG_ERR, request_->connection->log, 0,
                  "llm: the upstream's list of models is cut off, since %s", why);
}

} // namespace llm
