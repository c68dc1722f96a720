#include "upstream.h"

#include "replies.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sys/socket.h>

namespace soak {

namespace {

std::string with_length(std::string head, const std::string& body)
{
    return "HTTP/1.1 " + head + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// The length of the body behind this header.
std::size_t length_of(std::string_view head)
{
    constexpr std::string_view name = "Content-Length: ";
    const std::size_t at = head.find(name);
    return at == head.npos ? 0 : std::strtoull(head.data() + at + name.size(), nullptr, 10);
}

// Of a connection on which no more than the rest of a request's body can come.
bool has_ended(int fd)
{
    char bytes[4096];
    ssize_t n;
    do {
        n = ::recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0 || errno != EAGAIN;
}

} // namespace

upstream::upstream(bench::poller& poller, std::uint16_t port, const limit_set& limits, const std::string& run,
                   ledger& all)
    : poller_(poller), listener_(bench::listen_on_loopback(port)), id_header_("X-Test: " + run), ledger_(all),
      holds_(limits, [this] { look_for_closed(); })
{
    if (listener_) {
        poller_.add(listener_.get(), EPOLLIN);
    }
}

bool upstream::owns(int fd) const
{
    const auto n = static_cast<std::size_t>(fd);
    return fd == listener_.get() || (n < connections_.size() && connections_[n]);
}

void upstream::accept_all()
{
    while (bench::unique_fd fd = bench::accept_from(listener_.get())) {
        const auto n = static_cast<std::size_t>(fd.get());
        connections_.resize(std::max(connections_.size(), n + 1));
        poller_.add(fd.get(), EPOLLIN);
        connections_[n] = std::make_unique<connection>();
        connections_[n]->fd = std::move(fd);
    }
}

void upstream::ready(int fd)
{
    if (fd == listener_.get()) {
        accept_all();
        return;
    }
    connection& c = *connections_[static_cast<std::size_t>(fd)];
    if (!receive(c)) {
        left_ += c.serves != nullptr;
        drop(c);
    }
}

// False: nginx has closed it.
bool upstream::receive(connection& c)
{
    char bytes[16384];
    const ssize_t n = ::recv(c.fd.get(), bytes, sizeof bytes, 0);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    c.in.append(bytes, static_cast<std::size_t>(n));
    const std::string_view in = c.in;
    const std::size_t end = in.find("\r\n\r\n");
    if (!c.serves && end != in.npos) {
        const std::string_view head = in.substr(0, end + 4);
        const std::string_view body = in.substr(head.size());
        if (body.size() >= length_of(head)) {
            begin(c, head, body);
        }
    }
    return true;
}

void upstream::begin(connection& c, std::string_view head, std::string_view body)
{
    const std::size_t at = head.find(id_header_);
    if (at == head.npos) { // not of this run
        ::shutdown(c.fd.get(), SHUT_RDWR);
        return;
    }
    entry& e = ledger_[std::strtoull(head.data() + at + id_header_.size(), nullptr, 10)];
    reached_ += !e.reached;
    e.reached = true;
    replies_++;

    const plan& p = e.what;
    const bool is_second = head.find("X-Second: ") != head.npos;
    c.reply.begins.clear();
    e.begun = 0;
    if (p.makes_two() && !is_second) {
        c.out = p.place == "/accel" ? with_length("200 OK\r\nX-Accel-Redirect: /inner", "elsewhere")
                                    : with_length("503 Busy", "busy");
    } else if (p.fails != 0) {
        c.out = with_length(std::to_string(p.fails) + " Broken\r\nContent-Type: application/json",
                            R"({"error":{"message":"no"}})");
    } else {
        e.reply = std::make_unique<script>(reply_to(p, body));
        c.reply = frame(*e.reply, p.prompt_bytes + p.max_tokens * 1000);
        c.out = std::move(c.reply.bytes);
    }
    const bool cuts = p.cuts_at <= 1000 && (!p.makes_two() || p.cuts_first != is_second);
    c.ends_at = cuts ? c.out.size() * p.cuts_at / 1000 : c.out.size();
    c.sent = 0;
    c.slice = c.ends_at / p.slices + 1;
    c.due_ms = bench::now_ms() + p.slice_ms;
    c.in.clear();
    c.serves = &e;
    e.hold();
    holds_.begin(p.who);
}

// What it serves is over.
void upstream::release(connection& c)
{
    if (c.serves) {
        holds_.end(c.serves->what.who);
        if (!c.reply.begins.empty()) {
            c.serves->begun = c.reply.begun(c.sent);
        }
        c.serves->let_go();
        c.serves = nullptr;
    }
}

void upstream::drop(connection& c)
{
    release(c);
    connections_[static_cast<std::size_t>(c.fd.get())].reset();
}

void upstream::look_for_closed()
{
    for (auto& c : connections_) {
        if (c && c->serves && has_ended(c->fd.get())) {
            release(*c);
            left_++;
        }
    }
}

void upstream::tick(std::int64_t now_ms)
{
    for (auto& held : connections_) {
        if (!held || !held->serves || held->due_ms > now_ms) {
            continue;
        }
        connection& c = *held;
        const plan& p = c.serves->what;
        const std::size_t until = std::min(c.sent + c.slice, c.ends_at);
        const ssize_t n = ::send(c.fd.get(), c.out.data() + c.sent, until - c.sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            left_++;
            drop(c);
            continue;
        }
        c.sent += n < 0 ? 0 : static_cast<std::size_t>(n);
        c.due_ms = now_ms + p.slice_ms;
        if (c.sent < c.ends_at) {
            continue;
        }
        if (c.ends_at == c.out.size()) {
            release(c);
            c.in.clear();
            continue;
        }
        cut_++;
        if (p.upstream_resets) {
            bench::reset_on_close(c.fd.get());
        }
        drop(c);
    }
}

} // namespace soak
