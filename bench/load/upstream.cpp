#include "upstream.h"

#include "net.h"
#include "replies.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>

#include <memory>
#include <string>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <vector>

namespace bench {
namespace {

volatile std::sig_atomic_t stop = 0;

void on_signal(int)
{
    stop = 1;
}

std::uint64_t argument(std::string_view target, std::string_view name, std::uint64_t otherwise)
{
    std::size_t at = target.find('?');
    while (at != std::string_view::npos) {
        std::string_view rest = target.substr(at + 1);
        if (rest.starts_with(name) && rest.size() > name.size() && rest[name.size()] == '=') {
            std::uint64_t value = otherwise;
            std::from_chars(rest.data() + name.size() + 1, rest.data() + rest.size(), value);
            return value;
        }
        at = target.find('&', at + 1);
    }
    return otherwise;
}

// Of a head without its empty line.
std::string_view header(std::string_view head, std::string_view name)
{
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at + 2)) {
        if (head.size() - at > name.size()
            && ::strncasecmp(head.data() + at, name.data(), name.size()) == 0) {
            const std::size_t from = std::min(head.find_first_not_of(' ', at + name.size()), head.size());
            return head.substr(from, head.find('\r', from) - from);
        }
    }
    return {};
}

std::size_t content_length(std::string_view head)
{
    const std::string_view text = header(head, "\r\ncontent-length:");
    std::size_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// What the request wants; only its last bytes are looked at, where the gateway puts it.
usage_form usage_asked(std::string_view body, std::string_view target)
{
    const std::string_view tail = body.substr(body.size() - std::min<std::size_t>(body.size(), 256));
    if (tail.find(R"("continuous_usage_stats":true)") != tail.npos) {
        return usage_form::continuous;
    }
    if (tail.find(R"("include_usage":true)") == tail.npos) {
        return usage_form::none;
    }
    return target.find("usage=null") != target.npos ? usage_form::final_and_null : usage_form::final;
}

// When the steps of a paced stream are due, in ms of the monotonic clock.
struct schedule {
    std::uint64_t pace = 0;
    std::uint64_t offset = 0; // spreads streams over the period, the same way in every run
    std::uint64_t slot = 0;   // 0: flows all the time
    std::uint64_t of = 1;
    std::uint64_t at = 0;

    static constexpr std::uint64_t silence = 10;

    std::uint64_t first(std::uint64_t now) const { return slot == 0 ? now + pace + offset : next_slot(now); }

    std::uint64_t after(std::uint64_t step) const
    {
        const std::uint64_t next = step + pace;
        const bool flows = slot == 0 || (next / slot % of == at && next % slot < slot - silence);
        return flows ? next : next_slot(step);
    }

private:
    std::uint64_t next_slot(std::uint64_t now) const
    {
        const std::uint64_t slots = now / slot + 1;
        return (slots + (at + of - slots % of) % of) * slot + offset;
    }
};

struct connection {
    unique_fd fd;
    std::uint64_t serial = 0;
    std::string in;
    reply out;
    tokens used;
    std::size_t pos = 0;
    std::size_t allowed = 0;
    schedule when;
    std::uint64_t due = 0;
    std::uint64_t chunks_left = 0;
    bool busy = false;
    bool wants_out = false;
};

struct sent_totals {
    std::uint64_t requests = 0;
    std::uint64_t prompt = 0;
    std::uint64_t completion = 0;
};

class upstream {
public:
    explicit upstream(unique_fd listener) : listener_(std::move(listener)), wheel_(wheel_size)
    {
        poller_.add(listener_.get(), EPOLLIN);
        wheel_ms_ = now_ms();
    }

    void run()
    {
        while (!stop) {
            poller_.wait(paced_ > 0 ? 1 : 200, [this](int fd, std::uint32_t events) { ready(fd, events); });
            turn_wheel();
        }
    }

private:
    static constexpr std::size_t wheel_size = 8192;
    struct entry {
        int fd;
        std::uint64_t serial;
    };

    void ready(int fd, std::uint32_t events)
    {
        if (fd == listener_.get()) {
            accept_all();
            return;
        }
        connection* c = connections_[fd].get();
        if (c == nullptr) {
            return;
        }
        bool alive = true;
        if ((events & EPOLLOUT) != 0) {
            alive = pump(*c);
        }
        if (alive && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            alive = receive(*c);
        }
        if (!alive) {
            drop(*c);
        }
    }

    void accept_all()
    {
        for (int i = 0; i < 256; ++i) {
            unique_fd fd = accept_from(listener_.get());
            if (!fd) {
                return;
            }
            const int n = fd.get();
            if (connections_.size() <= static_cast<std::size_t>(n)) {
                connections_.resize(static_cast<std::size_t>(n) + 1);
            }
            connections_[n] = std::make_unique<connection>();
            connections_[n]->fd = std::move(fd);
            connections_[n]->serial = ++serial_;
            poller_.add(n, EPOLLIN);
        }
    }

    void drop(connection& c)
    {
        paced_ -= c.chunks_left > 0 ? 1 : 0;
        connections_[c.fd.get()].reset();
    }

    bool receive(connection& c)
    {
        char buffer[16384];
        const ssize_t n = ::recv(c.fd.get(), buffer, sizeof buffer, 0);
        if (n <= 0) {
            return n < 0 && (errno == EAGAIN || errno == EINTR);
        }
        c.in.append(buffer, static_cast<std::size_t>(n));
        return c.busy || next_request(c);
    }

    bool next_request(connection& c)
    {
        const std::size_t end = c.in.find("\r\n\r\n");
        if (end == std::string::npos) {
            return true;
        }
        const std::string_view head(c.in.data(), end + 2);
        const std::size_t size = end + 4 + content_length(head);
        if (c.in.size() < size) {
            return true;
        }
        const std::size_t space = head.find(' ');
        std::string target(head.substr(space + 1, head.find(' ', space + 1) - space - 1));
        if (const std::string_view plan = header(head, "\r\nx-bench-plan:"); !plan.empty()) {
            target += plan;
        }
        const usage_form form = usage_asked(std::string_view(c.in).substr(end + 4, size - end - 4), target);
        c.in.erase(0, size);
        answer(c, target, form);
        return pump(c);
    }

    void answer(connection& c, std::string_view target, usage_form form)
    {
        const std::uint64_t chunks = argument(target, "chunks", 0);
        ++requests_;
        // A chunk is not a token: the counts differ, so that nobody gets away with counting events.
        c.used = {10 + requests_ % 90, chunks + 20 + requests_ % 50};
        c.pos = 0;
        c.busy = true;
        if (target.starts_with("/bench/stats")) {
            c.used = {};
            --requests_;
            c.out = plain_reply("{\"requests\":" + std::to_string(sent_.requests)
                                + ",\"prompt_tokens\":" + std::to_string(sent_.prompt)
                                + ",\"completion_tokens\":" + std::to_string(sent_.completion) + "}\n");
            --sent_.requests;
        } else if (target.starts_with("/v1/embeddings")) {
            c.used.completion = 0;
            c.out = embeddings_reply(c.used, argument(target, "floats", 1536));
        } else if (chunks == 0) {
            c.out = chat_reply(c.used, requests_);
        } else {
            c.out = stream_reply(
                c.used, requests_, chunks,
                target.find("frame=close") != target.npos ? framing::close : framing::chunked, form);
        }
        c.allowed = c.out.size();
        const std::uint64_t pace =
            chunks > 0 ? std::min<std::uint64_t>(argument(target, "pace", 0), 4000) : 0;
        if (pace > 0) {
            c.when = {pace, requests_ * 7919 % argument(target, "spread", pace), argument(target, "slot", 0),
                      argument(target, "of", 1), argument(target, "at", 0)};
            c.allowed = c.out.head.size();
            c.chunks_left = chunks + 1; // the last step sends the tail
            if (paced_++ == 0) {
                wheel_ms_ = now_ms();
            }
            put_on_wheel(c, c.when.first(static_cast<std::uint64_t>(wheel_ms_)));
        }
    }

    void put_on_wheel(connection& c, std::uint64_t due_ms)
    {
        c.due = due_ms;
        wheel_[due_ms % wheel_size].push_back({c.fd.get(), c.serial});
    }

    void turn_wheel()
    {
        for (const std::int64_t now = now_ms(); wheel_ms_ < now;) {
            ++wheel_ms_;
            now_due_.swap(wheel_[static_cast<std::size_t>(wheel_ms_) % wheel_size]);
            for (const entry& d : now_due_) {
                connection* c = connections_[d.fd].get();
                if (c != nullptr && c->serial == d.serial && c->chunks_left > 0) {
                    step(*c);
                }
            }
            now_due_.clear();
        }
    }

    void step(connection& c)
    {
        --c.chunks_left;
        if (c.chunks_left > 0) {
            c.allowed += c.out.step;
            put_on_wheel(c, c.when.after(c.due));
        } else {
            c.allowed = c.out.size();
            --paced_;
        }
        if (!pump(c)) {
            drop(c);
        }
    }

    // Sends what may be sent. False: the connection is over.
    bool pump(connection& c)
    {
        while (c.busy && c.pos < c.allowed) {
            iovec parts[3];
            int count = 0;
            std::size_t start = 0;
            for (std::string_view part :
                 {std::string_view(c.out.head), c.out.repeated, std::string_view(c.out.tail)}) {
                const std::size_t from = std::max(start, c.pos);
                const std::size_t to = std::min(start + part.size(), c.allowed);
                if (from < to) {
                    parts[count++] = {const_cast<char*>(part.data()) + (from - start), to - from};
                }
                start += part.size();
            }
            const ssize_t n = ::writev(c.fd.get(), parts, count);
            if (n < 0) {
                if (errno != EAGAIN) {
                    return false;
                }
                want_out(c, true);
                return true;
            }
            c.pos += static_cast<std::size_t>(n);
        }
        want_out(c, false);
        return !c.busy || c.pos < c.out.size() || finish(c);
    }

    void want_out(connection& c, bool wanted)
    {
        if (c.wants_out != wanted) {
            c.wants_out = wanted;
            poller_.change(c.fd.get(), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
        }
    }

    bool finish(connection& c)
    {
        ++sent_.requests;
        sent_.prompt += c.used.prompt;
        sent_.completion += c.used.completion;
        c.busy = false;
        return !c.out.close && next_request(c);
    }

    unique_fd listener_;
    poller poller_;
    std::vector<std::unique_ptr<connection>> connections_;
    std::vector<std::vector<entry>> wheel_;
    std::vector<entry> now_due_;
    std::int64_t wheel_ms_ = 0;
    std::uint64_t serial_ = 0;
    std::uint64_t requests_ = 0;
    std::uint64_t paced_ = 0;
    sent_totals sent_;
};

} // namespace

int run_upstream(std::uint16_t port)
{
    raise_open_files();
    std::signal(SIGTERM, on_signal);
    std::signal(SIGINT, on_signal);
    std::signal(SIGPIPE, SIG_IGN);
    unique_fd listener = listen_on_loopback(port);
    if (!listener) {
        std::perror("upstream: listen");
        return 1;
    }
    upstream(std::move(listener)).run();
    return 0;
}

} // namespace bench
