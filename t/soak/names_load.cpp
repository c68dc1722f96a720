// The load of t/many_models.t: one key that names another model with each request, as fast as it can, while
// another key goes on with its own few; and the upstream of both, which answers them all.
//
// usage: names_load GATEWAY-PORT UPSTREAM-PORT SEED REQUESTS > report
//
// The first key is sk-many, the other sk-few, whose models are few-0 to few-3, in turn. Says "tick" after
// each tenth of the requests of the first, and then "ended" and what it saw as JSON.
#include "bench/load/net.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <poll.h>
#include <random>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

namespace {

constexpr unsigned many_clients = 16;
constexpr unsigned pipelined = 16; // requests that one of them sends ahead
constexpr unsigned few_clients = 2;
constexpr unsigned few_models = 4;
constexpr std::int64_t patience_ms = 30000;

constexpr std::string_view reply =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 125\r\n\r\n"
    R"({"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],)"
    R"("usage":{"prompt_tokens":3,"completion_tokens":2}})";
static_assert(reply.size() - reply.find("\r\n\r\n") - 4 == 125);

// Takes the first whole message out of what has come: its head, or nothing.
std::string_view next_message(const std::string& in, std::size_t& at)
{
    constexpr std::string_view length_name = "Content-Length: ";
    const std::string_view rest = std::string_view(in).substr(at);
    const std::size_t end = rest.find("\r\n\r\n");
    if (end == rest.npos) {
        return {};
    }
    const std::string_view head = rest.substr(0, end + 4);
    const std::size_t name = head.find(length_name);
    const std::size_t length =
        name == head.npos ? 0 : std::strtoull(head.data() + name + length_name.size(), nullptr, 10);
    if (rest.size() < head.size() + length) {
        return {};
    }
    at += head.size() + length;
    return head;
}

struct connection {
    bench::unique_fd fd;
    bool from_nginx = false;
    bool is_many = false;
    unsigned waits_for = 0; // replies
    std::string in;
    std::string out;
};

class load {
public:
    load(std::uint16_t gateway, std::uint16_t upstream, std::uint64_t seed, std::uint64_t wanted)
        : gateway_(gateway), listener_(bench::listen_on_loopback(upstream)), random_(seed), wanted_(wanted)
    {
    }

    bool run();
    void report(std::int64_t ms) const;

private:
    connection& add(bench::unique_fd fd);
    void ask(connection& c);
    bool receive(connection& c);
    bool send(connection& c);
    void take_replies(connection& c);

    const std::uint16_t gateway_;
    bench::poller poller_;
    bench::unique_fd listener_;
    std::vector<std::unique_ptr<connection>> connections_; // by descriptor
    std::mt19937_64 random_;
    const std::uint64_t wanted_;
    std::uint64_t sent_ = 0;
    std::uint64_t answered_ = 0;
    std::uint64_t other_statuses_ = 0;
    std::uint64_t few_sent_ = 0;
    std::uint64_t few_answered_ = 0;
};

connection& load::add(bench::unique_fd fd)
{
    const auto n = static_cast<std::size_t>(fd.get());
    connections_.resize(std::max(connections_.size(), n + 1));
    poller_.add(fd.get(), EPOLLIN);
    connections_[n] = std::make_unique<connection>();
    connections_[n]->fd = std::move(fd);
    return *connections_[n];
}

// As many requests as may be on their way.
void load::ask(connection& c)
{
    const unsigned most = c.is_many ? pipelined : 1;
    // Not one by one: each write would wake nginx up.
    if (c.waits_for > most / 2) {
        return;
    }
    while (c.waits_for < most && sent_ < wanted_) {
        char body[160];
        const unsigned few = static_cast<unsigned>(few_sent_ % few_models);
        const int n =
            c.is_many
                ? std::snprintf(body, sizeof body,
                                R"({"model":"name-%016)" PRIx64
                                R"(","messages":[{"role":"user","content":"hi"}]})",
                                random_())
                : std::snprintf(body, sizeof body,
                                R"({"model":"few-%u","messages":[{"role":"user","content":"hi"}]})", few);
        ++(c.is_many ? sent_ : few_sent_);
        c.out += "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ";
        c.out += c.is_many ? "sk-many" : "sk-few";
        c.out += "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(n) + "\r\n\r\n";
        c.out += body;
        c.waits_for++;
    }
}

bool load::send(connection& c)
{
    while (!c.out.empty()) {
        const ssize_t n = ::send(c.fd.get(), c.out.data(), c.out.size(), MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN;
        }
        c.out.erase(0, static_cast<std::size_t>(n));
    }
    return true;
}

void load::take_replies(connection& c)
{
    std::size_t at = 0;
    for (std::string_view head = next_message(c.in, at); !head.empty(); head = next_message(c.in, at)) {
        if (c.from_nginx) {
            c.out += reply;
            continue;
        }
        c.waits_for--;
        other_statuses_ += !head.starts_with("HTTP/1.1 200 ");
        ++(c.is_many ? answered_ : few_answered_);
    }
    c.in.erase(0, at);
    if (!c.from_nginx) {
        ask(c);
    }
}

// False: the other side has closed it.
bool load::receive(connection& c)
{
    char bytes[65536];
    const ssize_t n = ::recv(c.fd.get(), bytes, sizeof bytes, 0);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    c.in.append(bytes, static_cast<std::size_t>(n));
    take_replies(c);
    return send(c);
}

bool load::run()
{
    if (!listener_) {
        std::perror("upstream");
        return false;
    }
    poller_.add(listener_.get(), EPOLLIN);
    unsigned open = 0;
    for (; open < many_clients + few_clients; open++) {
        bench::unique_fd fd = bench::connect_to_loopback(gateway_);
        pollfd ready{fd.get(), POLLOUT, 0};
        if (!fd || ::poll(&ready, 1, 5000) != 1) {
            std::perror("gateway");
            return false;
        }
        connection& c = add(std::move(fd));
        c.is_many = open < many_clients;
        ask(c);
        if (!send(c)) {
            return false;
        }
    }
    std::uint64_t told = 0;
    std::uint64_t seen = 0;
    std::int64_t progress = bench::now_ms();
    while (answered_ < wanted_ || few_answered_ < few_sent_) {
        bool good = true;
        poller_.wait(10, [&](int fd, std::uint32_t) {
            if (fd == listener_.get()) {
                while (bench::unique_fd accepted = bench::accept_from(listener_.get())) {
                    add(std::move(accepted)).from_nginx = true;
                }
                return;
            }
            connection* const c = connections_[static_cast<std::size_t>(fd)].get();
            if (c && !receive(*c)) {
                good = good && c->from_nginx;
                connections_[static_cast<std::size_t>(fd)].reset();
            }
        });
        for (; told < 10 && answered_ >= wanted_ * (told + 1) / 10; told++) {
            std::puts("tick");
            std::fflush(stdout);
        }
        const std::int64_t now = bench::now_ms();
        progress = answered_ != seen ? now : progress;
        seen = answered_;
        if (!good || now - progress > patience_ms) {
            std::fprintf(stderr, "%s after %" PRIu64 " requests\n",
                         good ? "nothing happens any more" : "nginx has closed a connection", answered_);
            return false;
        }
    }
    return true;
}

void load::report(std::int64_t ms) const
{
    std::printf("ended\n{\"many\":%" PRIu64 ",\"few\":%" PRIu64 ",\"other_statuses\":%" PRIu64
                ",\"milliseconds\":%" PRId64 "}\n",
                answered_, few_answered_, other_statuses_, ms);
}

} // namespace

int main(int argc, char** argv)
{
    if (argc != 5) {
        std::fputs("usage: names_load GATEWAY-PORT UPSTREAM-PORT SEED REQUESTS\n", stderr);
        return 2;
    }
    const auto number = [&](int n) { return std::strtoull(argv[n], nullptr, 10); };
    std::signal(SIGPIPE, SIG_IGN);
    load l(static_cast<std::uint16_t>(number(1)), static_cast<std::uint16_t>(number(2)), number(3),
           number(4));
    const std::int64_t start = bench::now_ms();
    if (!l.run()) {
        return 1;
    }
    l.report(bench::now_ms() - start);
    return 0;
}
