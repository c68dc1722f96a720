#include "status_running.h"

#include "ngx/clock.h"

#include <algorithm>
#include <span>

namespace llm {

namespace {

// Leases that are copied with the zone locked once.
constexpr uint32_t slice = 16;

struct lease_copy {
    char key[max_name], user[max_name], model[lease::max_model];
    size_t key_len, user_len, model_len;
    uint32_t place;
    uint64_t serial;
    bool stream;
    uint32_t pid;
    int64_t started_ms;
    uint32_t first_content;
    uint8_t server_family; // 0 = not known
    uint16_t server_port;
    uint8_t server[16];
    token_counts progress;
};

void copy(const lease& l, const zone_session& state, lease_copy& c)
{
    const auto name = [&](uint32_t subject, char* to) {
        return subject == no_index ? 0 : state->subjects().at(subject).name().copy(to, max_name);
    };
    c.key_len = name(l.key(), c.key);
    c.user_len = state->names_of(l).user.copy(c.user, max_name);
    c.model_len = l.model().copy(c.model, sizeof c.model);
    c.serial = l.serial;
    c.stream = l.stream;
    c.pid = state->owners()[l.owner].pid;
    c.started_ms = l.started_ms;
    c.first_content = l.first_content.load(std::memory_order_relaxed);
    c.server_family = l.has_server.load(std::memory_order_acquire) ? l.server_family : 0;
    c.server_port = l.server_port;
    std::copy(std::begin(l.server_bytes), std::end(l.server_bytes), c.server);
    c.progress = l.progress();
}

// From number `at` on, which it moves.
size_t copy_leases(const zone_conf& zone, uint32_t& at, uint32_t end, lease_copy* to)
{
    zone_session session(zone);
    const lease_table& leases = session->leases();
    size_t n = 0;
    for (uint32_t looked = 0; looked < 8 * slice && n < slice && at < end; looked++, at++) {
        const lease& l = leases.at(at);
        if (lease::is_counted(l.is)) {
            to[n].place = at;
            copy(l, session, to[n++]);
        }
    }
    return n;
}

void put_server(json_writer& out, const lease_copy& c)
{
    if (c.server_family == 0) {
        out.null("peer");
        return;
    }
    u_char text[NGX_SOCKADDR_STRLEN];
    size_t size;
    if (c.server_family == 4) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(c.server_port);
        std::copy_n(c.server, sizeof v4.sin_addr, reinterpret_cast<uint8_t*>(&v4.sin_addr));
        size = ngx_sock_ntop(reinterpret_cast<sockaddr*>(&v4), sizeof v4, text, sizeof text, 1);
    } else {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(c.server_port);
        std::copy_n(c.server, sizeof v6.sin6_addr, reinterpret_cast<uint8_t*>(&v6.sin6_addr));
        size = ngx_sock_ntop(reinterpret_cast<sockaddr*>(&v6), sizeof v6, text, sizeof text, 1);
    }
    out.field("peer", std::string_view(reinterpret_cast<char*>(text), size));
}

void put_lease(json_writer& out, const lease_copy& c, int64_t now_ms)
{
    out.begin_object();
    out.field("serial", c.serial);
    out.field("place", c.place);
    out.field("key", std::string_view(c.key, c.key_len));
    out.field("user", std::string_view(c.user, c.user_len));
    out.field("model", std::string_view(c.model, c.model_len));
    out.flag("stream", c.stream);
    out.field("pid", c.pid);
    put_server(out, c);
    out.field("age_ms", static_cast<uint64_t>(std::max<int64_t>(now_ms - c.started_ms, 0)));
    if (c.first_content != 0) {
        out.field("time_to_first_token_ms", c.first_content - 1);
    } else {
        out.null("time_to_first_token_ms");
    }
    out.field("prompt_tokens", c.progress.prompt);
    out.field("cached_tokens", c.progress.cached);
    out.field("completion_tokens", c.progress.completion);
    out.field("reasoning_tokens", c.progress.reasoning);
    out.end_object();
}

} // namespace

progress running_list::put_slice(json_writer& out, const zone_conf& zone)
{
    if (!begun_) {
        begun_ = true;
        end_ = zone.state->leases().high_water();
        out.begin_array();
    }
    lease_copy copies[slice];
    const size_t n = copy_leases(zone, next_, end_, copies);
    const int64_t now_ms = wall_clock_ms();
    for (const lease_copy& c : std::span(copies, n)) {
        put_lease(out, c, now_ms);
    }
    if (next_ < end_) {
        return progress::more;
    }
    out.end_array();
    return progress::done;
}

} // namespace llm
