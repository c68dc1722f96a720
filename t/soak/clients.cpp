#include "clients.h"

#include "requests.h"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>

namespace soak {

namespace {

// Who was refused comes again after so long.
constexpr std::int64_t rest_ms = 20;

} // namespace

clients::clients(bench::poller& poller, std::uint16_t port, unsigned count, std::uint64_t seed,
                 std::string run, ledger& all)
    : poller_(poller), port_(port), seed_(seed), run_(std::move(run)), ledger_(all), clients_(count)
{
}

bool clients::idle() const
{
    return std::ranges::all_of(clients_, [](const client& c) { return c.is == state::resting; });
}

void clients::start(client& c, std::int64_t now_ms)
{
    const std::uint64_t number = ledger_.size();
    c.asks = &ledger_.emplace_back();
    c.asks->what = plan::draw(seed_, number);
    request_text request = request_of(c.asks->what, run_ + std::to_string(number));
    c.asks->head = request.head;
    c.asks->asked = {request.body, generates(c.asks->what.speaks) ? c.asks->what.max_tokens : 0};
    c.asks->hold();
    c.out = std::move(request.bytes);
    c.sent = 0;
    c.reply = {};
    if (c.fd) {
        c.is = state::sending;
        send(c, now_ms);
        return;
    }
    c.fd = bench::connect_to_loopback(port_);
    if (c.fd) {
        c.is = state::connecting;
        watch(c);
    } else {
        end(c);
        c.due_ms = now_ms + rest_ms;
    }
}

// The request is over for its client.
void clients::end(client& c)
{
    if (!c.asks) {
        return;
    }
    if (c.reply.status() == 200) {
        c.asks->note_received(c.reply.body(), c.reply.complete());
    }
    c.asks->let_go();
    c.asks = nullptr;
}

void clients::watch(client& c)
{
    const auto n = static_cast<std::size_t>(c.fd.get());
    by_fd_.resize(std::max(by_fd_.size(), n + 1));
    by_fd_[n] = &c;
    poller_.add(c.fd.get(), EPOLLIN | EPOLLOUT);
}

void clients::close(client& c)
{
    end(c);
    if (c.fd) {
        by_fd_[static_cast<std::size_t>(c.fd.get())] = nullptr;
        c.fd.reset();
    }
    c.is = state::resting;
}

void clients::leave(client& c)
{
    left_++;
    if (c.asks->what.client_resets) {
        bench::reset_on_close(c.fd.get());
    }
    close(c);
}

void clients::ready(int fd, std::uint32_t events)
{
    client* const c =
        static_cast<std::size_t>(fd) < by_fd_.size() ? by_fd_[static_cast<std::size_t>(fd)] : nullptr;
    if (!c) {
        return;
    }
    if (c->is == state::connecting && (events & EPOLLOUT) != 0) {
        poller_.change(fd, EPOLLIN);
        c->is = state::sending;
        send(*c, bench::now_ms());
    } else if ((events & ~EPOLLOUT) != 0) {
        receive(*c);
    }
}

void clients::send(client& c, std::int64_t now_ms)
{
    const plan& p = c.asks->what;
    const std::size_t all = std::min(c.out.size(), p.leaves_after_sent);
    const std::size_t until = c.sent == 0 && p.split != 0 ? std::min(all, p.split) : all;
    const ssize_t n = ::send(c.fd.get(), c.out.data() + c.sent, until - c.sent, MSG_NOSIGNAL);
    if (n < 0) {
        broken_++;
        close(c);
        return;
    }
    c.sent += static_cast<std::size_t>(n);
    c.asks->head_sent = c.sent >= c.asks->head;
    c.asks->sent = c.sent == c.out.size();
    if (c.sent < all) {
        c.due_ms = now_ms + p.split_ms;
    } else if (p.leaves_after_sent != std::string::npos) {
        c.is = state::leaving;
        c.due_ms = now_ms + p.leaves_in_ms;
    } else {
        c.is = state::receiving;
    }
}

void clients::receive(client& c)
{
    char bytes[16384];
    const ssize_t n = ::recv(c.fd.get(), bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        broken_ += c.is != state::resting;
        close(c);
        return;
    }
    if (c.is == state::resting) { // bytes that nobody asked for
        broken_++;
        close(c);
        return;
    }
    c.reply.feed({bytes, static_cast<std::size_t>(n)});
    if (c.reply.complete()) {
        complete(c);
    } else if (c.reply.received() >= c.asks->what.leaves_after_received) {
        leave(c);
    }
}

void clients::complete(client& c)
{
    const bool all_sent = c.is == state::receiving;
    c.asks->status = c.reply.status();
    c.asks->received = c.reply.status() == 200;
    whole_ += c.asks->received;
    if (c.reply.status() == 429) {
        refused_++;
        c.due_ms = bench::now_ms() + rest_ms;
    }
    if (all_sent && c.asks->what.client_stays_connected && c.reply.keeps_alive()) {
        end(c);
        c.is = state::resting;
    } else {
        close(c);
    }
}

void clients::tick(std::int64_t now_ms)
{
    for (client& c : clients_) {
        if (c.due_ms > now_ms) {
            continue;
        }
        switch (c.is) {
        case state::resting:
            if (!stopped_) {
                start(c, now_ms);
            }
            break;
        case state::sending:
            send(c, now_ms);
            break;
        case state::leaving:
            leave(c);
            break;
        case state::connecting:
        case state::receiving:
            break;
        }
    }
}

} // namespace soak
