// The model server: answers as each request's plan says.
#pragma once

#include "bench/load/net.h"
#include "holds.h"
#include "ledger.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace soak {

class upstream {
public:
    upstream(bench::poller& poller, std::uint16_t port, const limit_set& limits, const std::string& run,
             ledger& all);

    bool listens() const { return static_cast<bool>(listener_); }
    bool owns(int fd) const;
    void ready(int fd);
    // Sends what is due.
    void tick(std::int64_t now_ms);

    std::uint64_t reached() const { return reached_; } // requests, each once
    std::uint64_t replies() const { return replies_; }
    std::uint64_t cut() const { return cut_; }   // replies
    std::uint64_t left() const { return left_; } // requests that nginx gave up
    const holds& held() const { return holds_; }

private:
    struct connection {
        bench::unique_fd fd;
        std::string in;
        entry* serves = nullptr;
        framed_reply reply; // where its pieces begin, if it tells anything
        std::string out;
        std::size_t sent = 0;
        std::size_t ends_at = 0; // bytes of `out`: less than all where it cuts
        std::size_t slice = 0;
        std::int64_t due_ms = 0;
    };

    void accept_all();
    bool receive(connection& c);
    void begin(connection& c, std::string_view head, std::string_view body);
    void release(connection& c);
    void drop(connection& c);
    void look_for_closed();

    bench::poller& poller_;
    bench::unique_fd listener_;
    const std::string id_header_;
    ledger& ledger_;
    std::vector<std::unique_ptr<connection>> connections_; // by descriptor
    holds holds_;
    std::uint64_t reached_ = 0;
    std::uint64_t replies_ = 0;
    std::uint64_t cut_ = 0;
    std::uint64_t left_ = 0;
};

} // namespace soak
