#include "session.h"

#include "bench_key.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <sys/socket.h>

namespace bench {
namespace {

// So many connections at once wait for the first byte of their first reply.
constexpr unsigned ramp = 128;

} // namespace

void loop::wait(int timeout_ms)
{
    poller_.wait(timeout_ms, [this](int fd, std::uint32_t events) {
        connection& c = *connections_[fd];
        c.owner->ready(c, events);
    });
}

void loop::wait_us(std::int64_t timeout_us)
{
    poller_.wait_us(timeout_us, [this](int fd, std::uint32_t events) {
        connection& c = *connections_[fd];
        c.owner->ready(c, events);
    });
}

void loop::watch(std::unique_ptr<connection> c)
{
    const int fd = c->fd.get();
    if (connections_.size() <= static_cast<std::size_t>(fd)) {
        connections_.resize(static_cast<std::size_t>(fd) + 1);
    }
    connections_[fd] = std::move(c);
    poller_.add(fd, EPOLLIN | EPOLLOUT);
}

void loop::fail(const char* why, const session& where)
{
    if (!failed_) {
        std::fprintf(stderr, "client: %s (%s, port %u, %s, %llu done, %llu refused)\n", why,
                     where.where().name.c_str(), where.where().port, where.what().path.c_str(),
                     static_cast<unsigned long long>(where.count().done),
                     static_cast<unsigned long long>(where.count().refused));
    }
    failed_ = true;
}

void session::allow(std::uint64_t requests)
{
    allowed_ += requests;
    while (!resting_.empty() && count_.asked < allowed_) {
        connection& c = *resting_.back();
        resting_.pop_back();
        ask(c);
    }
    open_more();
}

void session::open_more()
{
    while (opened_ < what_.connections && opened_ < allowed_ && opened_ - count_.begun < ramp
           && !loop_.failed()) {
        ++opened_;
        connect(std::make_unique<connection>());
    }
}

void session::connect(std::unique_ptr<connection> c)
{
    c->owner = this;
    c->reader.expect_refusal(what_.refusal);
    c->fd = connect_to_loopback(where_.port);
    if (!c->fd) {
        loop_.fail("cannot connect", *this);
        return;
    }
    loop_.watch(std::move(c));
}

void session::ready(connection& c, std::uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        loop_.wait_for_input(c);
        if (c.out.empty()) {
            ask(c);
        } else {
            send(c);
        }
    } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        receive(c);
    }
}

std::string session::request(std::uint64_t number) const
{
    const std::uint64_t index = number % what_.distinct * (what_.keys / what_.distinct);
    const std::uint64_t model = number / what_.distinct % what_.models;
    const bool stream = what_.path.find("chunks=") != std::string::npos;
    std::string headers = where_.headers;
    if (const std::size_t at = headers.find("$query"); at != headers.npos) {
        headers.replace(at, 6, what_.path, std::min(what_.path.find('?'), what_.path.size()));
    }
    const std::string named = R"("model":"bench-model)" + (model == 0 ? "" : std::to_string(model)) + R"(",)";
    const std::string messages = R"("messages":[{"role":"system","content":)"
                                 R"("You are a helpful assistant."},{"role":"user","content":)"
                                 R"("What stands in front of the model servers?)"
                                 + std::string(what_.prompt, ' ') + R"("}],)";
    const std::string body = '{' + (what_.prompt == 0 ? named + messages : messages + named)
                             + R"("max_tokens":256,"temperature":0.7)"
                             + (stream ? R"(,"stream":true})" : "}");
    return "POST " + what_.path + " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer "
           + (what_.unknown_key ? "sk-unknown-00000000-0123456789abcdef" : bench_key(index)) + "\r\n"
           + headers
           + "User-Agent: bench\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
             "Content-Length: "
           + std::to_string(body.size()) + "\r\n\r\n" + body;
}

void session::ask(connection& c)
{
    if (!c.asks_again) {
        if (count_.asked >= allowed_) {
            resting_.push_back(&c);
            return;
        }
        c.number = count_.asked++;
    }
    c.asks_again = false;
    c.asking = true;
    c.out = request(c.number);
    c.sent = 0;
    send(c);
}

// Most requests are far smaller than a socket's buffer: one call takes all.
void session::send(connection& c)
{
    const ssize_t n = ::send(c.fd.get(), c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        if (c.begun) {
            closed(c);
        } else {
            loop_.fail("cannot send", *this);
        }
        return;
    }
    c.sent += n > 0 ? static_cast<std::size_t>(n) : 0;
    if (c.sent == c.out.size()) {
        c.out.clear();
    } else {
        loop_.wait_for_room(c);
    }
}

void session::receive(connection& c)
{
    std::vector<char>& buffer = loop_.buffer();
    const ssize_t n = ::recv(c.fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (!c.asking || (n <= 0 && c.begun && c.reader.untouched())) {
        closed(c);
        return;
    }
    if (n < 0) {
        loop_.fail("connection reset", *this);
        return;
    }
    ++count_.reads;
    const auto status =
        n == 0 ? c.reader.end_of_input() : c.reader.feed({buffer.data(), static_cast<std::size_t>(n)});
    count_.events += c.reader.events() - c.events;
    c.events = c.reader.events();
    if (!c.begun && c.reader.begun()) {
        c.begun = true;
        ++count_.begun;
        open_more();
    }
    if (status == reply_reader::status::complete) {
        complete(c);
    } else if (status == reply_reader::status::broken) {
        std::fprintf(stderr, "client: status %d: %.*s\n", c.reader.code(),
                     static_cast<int>(std::max<ssize_t>(std::min<ssize_t>(n, 600), 0)), buffer.data());
        loop_.fail(c.reader.complaint(), *this);
    }
}

// A connection that has served may be closed before its next reply: what was asked then is asked again, as
// all clients do. One at rest may be closed at any time, also with words (of node: 408).
void session::closed(connection& c)
{
    c.reader.reset();
    c.out.clear();
    c.asks_again = c.asking;
    if (c.asking) {
        connect(loop_.release(c));
        return;
    }
    std::erase(resting_, &c);
    --opened_;
    count_.begun -= c.begun ? 1 : 0;
    loop_.release(c);
}

void session::complete(connection& c)
{
    ++count_.done;
    c.asking = false;
    count_.refused += what_.refusal != 0 && c.reader.code() == what_.refusal ? 1 : 0;
    if (on_done) {
        on_done(c.number);
    }
    count_.used.prompt += c.reader.promised().prompt;
    count_.used.completion += c.reader.promised().completion;
    const bool keeps_alive = c.reader.keeps_alive();
    c.reader.reset();
    c.reader.expect_refusal(what_.refusal);
    c.events = 0;
    if (keeps_alive) {
        ask(c);
    } else {
        connect(loop_.release(c));
    }
}

} // namespace bench
