#include "model_edit.h"

#include "headers_in.h"
#include "request_edit.h"

#include "core/api/model_table.h"
#include "core/base/json_text.h"
#include "core/request/query_model.h"

#include <algorithm>

namespace llm {

namespace {

constexpr std::string_view collection = "models/";

bool has_collection(std::string_view name)
{
    return name.starts_with(collection) || name.starts_with(tuned_models);
}

// Text that is put together in the pool; empty if there is no memory.
class pool_text {
public:
    pool_text(ngx_pool_t* pool, size_t room)
        : begin_(static_cast<char*>(ngx_pnalloc(pool, room))), end_(begin_)
    {
    }

    explicit operator bool() const { return begin_ != nullptr; }
    char* end() const { return end_; }
    void put(std::string_view text) { end_ += text.copy(end_, text.size()); }
    void put_json(std::string_view text) { end_ += write_json_text(text, end_); }
    void took(size_t n) { end_ += n; }
    // White space up to this size.
    void pad(size_t size)
    {
        while (this->size() < size) {
            *end_++ = ' ';
        }
    }
    size_t size() const { return static_cast<size_t>(end_ - begin_); }
    std::string_view view() const { return {begin_, size()}; }

private:
    char* begin_;
    char* end_;
};

// As a JSON value in place of the one that is there, or as a member where there is none. A value that is
// shorter is followed by white space.
bool write_json(ngx_http_request_t* r, request_ctx& ctx, byte_range& at, const ngx_str_t& name)
{
    constexpr std::string_view member = ",\"model\":";
    const bool is_first = ctx.edited.bytes != 0 ? ctx.edited.is_bare : ctx.asked.place.is_first;
    const bool is_new = at.size() == 0;
    if (!is_new && ctx.routed.renames && !ctx.asked.place.is_long) {
        const std::string_view text = ctx.routed.row->as_json;
        const bool written = write_body(r, ctx, at, text);
        at.end = std::max(at.end, at.begin + text.size());
        return written;
    }
    pool_text text(r->pool, member.size() + collection.size() + name.len * 6 + 3 + at.size());
    if (!text) {
        return false;
    }
    if (is_new) {
        text.put(member.substr(is_first));
    }
    const size_t before = text.size();
    if (!name.data) {
        text.put("null");
    } else {
        const bool is_long = ctx.asked.place.is_long && !has_collection(view(name));
        text.put("\"");
        text.put(is_long ? collection : std::string_view());
        text.put_json(view(name));
        text.put("\"");
    }
    text.pad(at.size());
    const size_t end = text.size();
    text.put(is_new && is_first && ctx.edited.has_more ? "," : "");
    if (!write_body(r, ctx, at, text.view())) {
        return false;
    }
    at = {at.begin + before, at.begin + end};
    return true;
}

// As the content of a form's part. A name that is shorter leaves white space behind the colon of the part's
// Content-Disposition.
bool write_form(ngx_http_request_t* r, request_ctx& ctx, byte_range& at, const ngx_str_t& name)
{
    if (name.len >= at.size()) {
        const bool written = write_body(r, ctx, at, view(name));
        at.end = at.begin + name.len;
        return written;
    }
    const byte_range header{ctx.asked.place.header, at.begin};
    const size_t left = at.size() - name.len;
    pool_text text(r->pool, header.size() + at.size());
    if (!text) {
        return false;
    }
    text.pad(left);
    if (!read_kept_body(r, header, text.end())) {
        return false;
    }
    text.took(header.size());
    text.put(view(name));
    at.begin += left;
    return write_body(r, ctx, {header.begin, at.end}, text.view());
}

// nginx makes the upstream's URI of r->uri and r->args, and no more of what the client sent.
void use_parsed_uri(ngx_http_request_t* r)
{
    r->valid_unparsed_uri = 0;
    r->quoted_uri = 1; // what it has to escape is escaped
}

// The name is one segment of the path. `segment`: where that is, if it has bytes that nginx would leave as
// they are, and that would make it several, or a part of one.
bool write_path(ngx_http_request_t* r, std::string_view name, byte_range& segment)
{
    const std::string_view path = view(r->uri);
    const api_call call = call_by_path(r, path);
    if (call.model.empty()) {
        return true;
    }
    auto at = static_cast<size_t>(call.model.data() - path.data());
    const size_t end = at + call.model.size();
    std::string_view before;
    const bool is_tuned = call.model.starts_with(tuned_models);
    const bool is_below =
        at >= collection.size()
        && same_without_case(path.substr(at - collection.size(), collection.size()), collection);
    if (call.speaks == api::gemini && (is_tuned || is_below)) {
        before = name.starts_with(tuned_models) ? tuned_models : collection;
        at -= is_tuned ? 0 : collection.size();
        name.remove_prefix(has_collection(name) ? before.size() : 0);
    }
    const bool is_odd = name.find_first_of("/;") != std::string_view::npos;
    const bool is_there = path.substr(at, end - at).starts_with(before)
                          && path.substr(at + before.size(), end - at - before.size()) == name;
    if (is_there && (!is_odd || r->valid_unparsed_uri)) {
        return true;
    }
    pool_text text(r->pool, path.size() + before.size() + name.size());
    if (!text) {
        return false;
    }
    text.put(path.substr(0, at));
    text.put(before);
    const size_t begin = text.size();
    text.put(name);
    segment = is_odd ? byte_range{begin, text.size()} : byte_range{};
    text.put(path.substr(end));
    // `proxy_pass` with a URI leaves out as many bytes as its location's name has.
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    if (at < core->name.len) {
        r->valid_location = 0;
    }
    r->uri = to_ngx(text.view());
    use_parsed_uri(r);
    return true;
}

bool write_query(ngx_http_request_t* r, ngx_str_t name)
{
    char room[form_facts::max_model];
    const std::string_view query = view(r->args);
    const query_model found = model_in_query(query, room, sizeof room);
    if (!found.name.data() || found.name == view(name)) {
        return true;
    }
    const uintptr_t escapes = ngx_escape_uri(nullptr, name.data, name.len, NGX_ESCAPE_URI_COMPONENT);
    pool_text text(r->pool, query.size() + name.len + 2 * escapes);
    if (!text) {
        return false;
    }
    text.put(query.substr(0, found.begin));
    ngx_escape_uri(reinterpret_cast<u_char*>(text.end()), name.data, name.len, NGX_ESCAPE_URI_COMPONENT);
    text.took(name.len + 2 * escapes);
    text.put(query.substr(found.end));
    r->args = to_ngx(text.view());
    use_parsed_uri(r);
    return true;
}

// The path and the query as they are to be sent, where a segment of the path has to be escaped in another way
// than nginx does.
bool escape_target(ngx_http_request_t* r, const byte_range& segment)
{
    const std::string_view path = view(r->uri);
    pool_text text(r->pool, path.size() * 3 + 1 + r->args.len);
    if (!text) {
        return false;
    }
    const auto put = [&](std::string_view part, ngx_uint_t how) {
        auto* from = reinterpret_cast<u_char*>(const_cast<char*>(part.data()));
        auto* to = reinterpret_cast<u_char*>(text.end());
        const auto* end = reinterpret_cast<u_char*>(ngx_escape_uri(to, from, part.size(), how));
        text.took(static_cast<size_t>(end - to));
    };
    put(path.substr(0, segment.begin), NGX_ESCAPE_URI);
    put(path.substr(segment.begin, segment.size()), NGX_ESCAPE_URI_COMPONENT);
    put(path.substr(segment.end), NGX_ESCAPE_URI);
    if (r->args.len != 0) {
        text.put("?");
        text.put(view(r->args));
    }
    r->unparsed_uri = to_ngx(text.view());
    r->valid_unparsed_uri = 1;
    return true;
}

bool write_target(ngx_http_request_t* r, const ngx_str_t& name)
{
    byte_range segment{};
    return write_path(r, view(name), segment) && (r->args.len == 0 || write_query(r, name))
           && (segment.size() == 0 || escape_target(r, segment));
}

// As the client wrote it, but for the collection, which its place in the body has or has not.
ngx_str_t clients_name(const request_ctx& ctx)
{
    return ctx.asked.names_model() ? to_ngx(short_model_name(view(ctx.asked.model))) : ngx_str_t{0, nullptr};
}

} // namespace

bool detail::send_model(ngx_http_request_t* r, request_ctx& ctx)
{
    const ngx_str_t name = ctx.routed.renames ? to_ngx(ctx.routed.row->as) : clients_name(ctx);
    if (!ctx.sent.is_edited) {
        ctx.sent.at = ctx.asked.place.at;
        ctx.sent.is_edited = true;
    } else if (view(ctx.sent.name) == view(name)) {
        return true;
    }
    ctx.sent.name = name;
    // A body that leaves it to the path or the query is left alone: some servers take no field that they do
    // not know.
    if (ctx.asked.place.is_known && (ctx.sent.at.size() != 0 || !ctx.asked.names_model())) {
        const bool is_form = ctx.asked.place.header != 0;
        if (!(is_form ? write_form : write_json)(r, ctx, ctx.sent.at, name)) {
            return false;
        }
    }
    return !name.data || write_target(r, name);
}

ngx_str_t upstream_model(const request_ctx& ctx)
{
    if (ctx.sent.is_edited) {
        return ctx.sent.name;
    }
    return ctx.routed.renames ? to_ngx(ctx.routed.row->as) : ctx.asked.model;
}

} // namespace llm
