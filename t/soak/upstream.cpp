#include "upstream.h"

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

std::string usage(unsigned prompt, unsigned completion)
{
    return R"("usage":{"prompt_tokens":)" + std::to_string(prompt) + R"(,"completion_tokens":)"
           + std::to_string(completion) + R"(,"total_tokens":)" + std::to_string(prompt + completion) + "}";
}

std::string json_reply(const plan& p)
{
    return with_length("200 OK\r\nContent-Type: application/json",
                       R"({"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":)"
                       R"("assistant","content":"hi"},"finish_reason":"stop"}],)"
                           + usage(p.prompt, p.completion) + "}");
}

std::string chunk(const std::string& text)
{
    static constexpr char digits[] = "0123456789abcdef";
    std::string size;
    for (std::size_t n = text.size(); n != 0; n /= 16) {
        size.insert(size.begin(), digits[n % 16]);
    }
    return size + "\r\n" + text + "\r\n";
}

std::string stream_reply(const plan& p)
{
    std::string all =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (unsigned n = 1; n <= p.completion; n++) {
        all += chunk(R"(data: {"choices":[{"index":0,"delta":{"content":" a"}}],)" + usage(p.prompt, n)
                     + "}\n\n");
    }
    all += chunk(R"(data: {"choices":[],)" + usage(p.prompt, p.completion) + "}\n\n");
    return all + chunk("data: [DONE]\n\n") + "0\r\n\r\n";
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
    const std::size_t end = c.in.find("\r\n\r\n");
    if (!c.serves && end != std::string::npos) {
        begin(c, std::string_view(c.in).substr(0, end + 4));
    }
    return true;
}

void upstream::begin(connection& c, std::string_view head)
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
    const bool makes_two = p.path == "/accel" || p.path == "/instead" || p.path == "/named";
    if (makes_two && !is_second) {
        c.out = p.path == "/accel" ? with_length("200 OK\r\nX-Accel-Redirect: /inner", "elsewhere")
                                   : with_length("503 Busy", "busy");
    } else if (p.fails) {
        c.out = with_length("500 Broken\r\nContent-Type: application/json", R"({"error":{"message":"no"}})");
    } else {
        c.out = p.stream ? stream_reply(p) : json_reply(p);
        e.tokens = p.prompt + p.completion;
    }
    const bool cuts = p.cuts_at <= 1000 && (!makes_two || p.cuts_first != is_second);
    c.ends_at = cuts ? c.out.size() * p.cuts_at / 1000 : c.out.size();
    c.sent = 0;
    c.slice = c.ends_at / p.slices + 1;
    c.due_ms = bench::now_ms() + p.slice_ms;
    // A request's body comes with its head, or right after it: it is not looked at.
    c.in.clear();
    c.serves = &e;
    holds_.begin(p.who);
}

// What it serves is over.
void upstream::release(connection& c)
{
    if (c.serves) {
        holds_.end(c.serves->what.who);
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
