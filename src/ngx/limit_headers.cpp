#include "limit_headers.h"

#include "clock.h"
#include "headers_in.h"

#include "core/api/api_table.h"
#include "core/base/number_text.h"
#include "core/limit/limit_text.h"

#include <algorithm>

namespace llm {

namespace {

// "never" is shown as a long time.
constexpr uint64_t longest_reset_ms = uint64_t{365} * 86400 * 1000;

ngx_str_t number_text(ngx_pool_t* pool, uint64_t number)
{
    char text[max_number];
    return copy_text(pool, {text, static_cast<size_t>(put_number(text, number) - text)});
}

// Headers whose values are written one after the other and then copied to the pool at once.
class header_texts {
public:
    void add_group(const limit_header_names::group& names, uint64_t limit, uint64_t remaining,
                   uint64_t reset_ms, bool as_time)
    {
        ends_here(names.limit, put_number(end_, limit));
        ends_here(names.remaining, put_number(end_, remaining));
        reset_ms = std::min(reset_ms, longest_reset_ms);
        std::string_view reset = as_time ? write_time(wall_clock_ms() + static_cast<int64_t>(reset_ms), end_)
                                         : write_duration(reset_ms, end_);
        ends_here(names.reset, end_ + reset.size());
    }

    // False if there is no memory.
    bool add_to(ngx_http_request_t* r) const
    {
        ngx_str_t all = copy_text(r->pool, {text_, static_cast<size_t>(end_ - text_)});
        if (!all.data) {
            return false;
        }
        u_char* at = all.data;
        for (size_t i = 0; i < headers_; i++) {
            if (!add_header_out(r, names_[i], {sizes_[i], at})) {
                return false;
            }
            at += sizes_[i];
        }
        return true;
    }

private:
    void ends_here(std::string_view name, char* end)
    {
        names_[headers_] = name;
        sizes_[headers_++] = static_cast<size_t>(end - end_);
        end_ = end;
    }

    static constexpr size_t max_groups = 2;

    size_t headers_ = 0;
    std::string_view names_[3 * max_groups];
    size_t sizes_[3 * max_groups];
    char text_[max_groups * (2 * max_number + limit_text_bytes)];
    char* end_ = text_;
};

template <class F>
void drop_headers_out(ngx_http_request_t* r, F&& is_dropped)
{
    for (ngx_list_part_t* part = &r->headers_out.headers.part; part; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (is_dropped(headers[i])) {
                headers[i].hash = 0;
            }
        }
    }
}

// What the upstream says of its limits is not about the client's.
void drop_upstreams(ngx_http_request_t* r)
{
    drop_headers_out(r, [](const ngx_table_elt_t& header) {
        std::string_view name = view(header.key);
        char first = name.empty() ? '\0' : static_cast<char>(name[0] | 0x20);
        if (first != 'x' && first != 'a') {
            return false;
        }
        for (std::string_view prefix : {"x-ratelimit-", "anthropic-ratelimit-"}) {
            if (same_without_case(name.substr(0, prefix.size()), prefix)) {
                return true;
            }
        }
        return false;
    });
}

constexpr std::string_view retry_after = "Retry-After", retry_after_ms = "retry-after-ms",
                           should_retry = "x-should-retry", challenge = "Bearer", upgrade = "Upgrade";

} // namespace

ngx_table_elt_t* add_header_out(ngx_http_request_t* r, std::string_view name, ngx_str_t value)
{
    auto* h = static_cast<ngx_table_elt_t*>(ngx_list_push(&r->headers_out.headers));
    if (!h) {
        return nullptr;
    }
    h->hash = 1;
    h->key = to_ngx(name);
    h->value = value;
#if (nginx_version >= 1023000)
    h->next = nullptr;
#endif
    return h;
}

bool add_limit_headers(ngx_http_request_t* r, const limit_report& report)
{
    if (!report.has_requests && !report.has_tokens) {
        return true;
    }
    drop_upstreams(r);
    const limit_header_names& names = row_of(asked_api(r)).limit_headers;
    header_texts headers;
    if (report.has_requests) {
        headers.add_group(names.requests, report.requests_limit, report.requests_remaining,
                          report.requests_reset_ms, names.reset_is_time);
    }
    if (report.has_tokens) {
        headers.add_group(names.tokens, report.tokens_limit, report.tokens_remaining, report.tokens_reset_ms,
                          names.reset_is_time);
    }
    return headers.add_to(r);
}

bool add_retry_headers(ngx_http_request_t* r, const refusal_answer& answer, uint64_t wait_ms)
{
    if (answer.give_up && !add_header_out(r, should_retry, to_ngx("false"))) {
        return false;
    }
    if (wait_ms == 0 || wait_ms > longest_wait_ms) {
        wait_ms = uint64_t{answer.retry_after} * 1000;
    }
    if (wait_ms == 0 || answer.give_up) {
        return true;
    }
    ngx_str_t seconds = number_text(r->pool, (wait_ms + 999) / 1000);
    ngx_str_t milliseconds = number_text(r->pool, wait_ms);
    return seconds.data && milliseconds.data && add_header_out(r, retry_after, seconds)
           && add_header_out(r, retry_after_ms, milliseconds);
}

bool ask_for_key(ngx_http_request_t* r)
{
    ngx_table_elt_t* header = add_header_out(r, "WWW-Authenticate", to_ngx(challenge));
    r->headers_out.www_authenticate = header;
    return header != nullptr;
}

// RFC 9110 wants it with a 426. Connection does not name it, as it should: parsers would then wait for
// another protocol. HTTP/2 and 3 do not have it.
bool ask_for_http(ngx_http_request_t* r)
{
    return r->http_version >= NGX_HTTP_VERSION_20 || add_header_out(r, upgrade, to_ngx("HTTP/1.1"));
}

void drop_refusal_headers(ngx_http_request_t* r)
{
    drop_headers_out(r, [r](const ngx_table_elt_t& header) {
        // By where its value lies: another module's, or an upstream's, stays.
        if (header.value.data == to_ngx(challenge).data) {
            r->headers_out.www_authenticate = nullptr;
            return true;
        }
        std::string_view name = view(header.key);
        return name.data() == retry_after.data() || name.data() == retry_after_ms.data()
               || name.data() == should_retry.data() || name.data() == upgrade.data();
    });
}

} // namespace llm
