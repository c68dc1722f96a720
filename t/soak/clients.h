// So many clients at once, each with one request after the other, as its plan says.
#pragma once

#include "bench/load/net.h"
#include "ledger.h"
#include "reply_reader.h"

#include <cstdint>
#include <string>
#include <vector>

namespace soak {

class clients {
public:
    clients(bench::poller& poller, std::uint16_t port, unsigned count, std::uint64_t seed, std::string run,
            ledger& all);

    void ready(int fd, std::uint32_t events);
    void tick(std::int64_t now_ms);
    // No further requests.
    void stop() { stopped_ = true; }
    bool idle() const;

    std::uint64_t refused() const { return refused_; }
    std::uint64_t whole() const { return whole_; }   // replies that came whole, with status 200
    std::uint64_t left() const { return left_; }     // requests whose client left
    std::uint64_t broken() const { return broken_; } // connections that nginx ended early

private:
    enum class state { resting, connecting, sending, leaving, receiving };

    struct client {
        bench::unique_fd fd;
        state is = state::resting;
        std::int64_t due_ms = 0;
        entry* asks = nullptr;
        std::string out;
        std::size_t sent = 0;
        reply_reader reply;
    };

    void start(client& c, std::int64_t now_ms);
    void watch(client& c);
    void send(client& c, std::int64_t now_ms);
    void receive(client& c);
    void complete(client& c);
    void leave(client& c);
    void end(client& c);
    void close(client& c);

    bench::poller& poller_;
    const std::uint16_t port_;
    const std::uint64_t seed_;
    const std::string run_;
    ledger& ledger_;
    std::vector<client> clients_;
    std::vector<client*> by_fd_;
    bool stopped_ = false;
    std::uint64_t refused_ = 0;
    std::uint64_t whole_ = 0;
    std::uint64_t left_ = 0;
    std::uint64_t broken_ = 0;
};

} // namespace soak
