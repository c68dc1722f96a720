// Loopback sockets, epoll and the process limits that thousands of streams need.
#pragma once

#include "fd.h"

#include <cstdint>
#include <sched.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

namespace bench {

// All return an empty descriptor on failure, with errno set.
unique_fd listen_on_loopback(std::uint16_t port);
unique_fd connect_to_loopback(std::uint16_t port);
unique_fd accept_from(int listener);
// Its end will be a RST instead of a FIN.
void reset_on_close(int fd);

void raise_open_files();
std::int64_t now_ms();
std::int64_t now_us();

class poller {
public:
    poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {}

    void add(int fd, std::uint32_t events) { control(EPOLL_CTL_ADD, fd, events); }
    void change(int fd, std::uint32_t events) { control(EPOLL_CTL_MOD, fd, events); }

    // Calls handle(fd, events) for what is ready; waits at most timeout_ms for the first. Where there is a
    // second CPU for the gateway it does not sleep meanwhile: over loopback it is the sender who pays for
    // waking the receiver up, and would do so the more often, the slower it is.
    template <typename Handle>
    void wait(int timeout_ms, Handle&& handle)
    {
        epoll_event ready[512];
        int n = ::epoll_wait(fd_.get(), ready, 512, may_sleep ? timeout_ms : 0);
        for (const std::int64_t end = now_ms() + timeout_ms; n == 0 && !may_sleep && now_ms() < end;) {
            ::sched_yield();
            n = ::epoll_wait(fd_.get(), ready, 512, 0);
        }
        handle_all(ready, n, handle);
    }
    // The same with a finer clock. It always sleeps.
    template <typename Handle>
    void wait_us(std::int64_t timeout_us, Handle&& handle)
    {
        epoll_event ready[512];
        const timespec timeout{timeout_us / 1000000, timeout_us % 1000000 * 1000};
        handle_all(ready, ::epoll_pwait2(fd_.get(), ready, 512, &timeout, nullptr), handle);
    }

    // Of this process. Where it is the time of each reply that is measured, who does not sleep is only in the
    // way of the others on its CPU.
    static inline bool may_sleep = ::sysconf(_SC_NPROCESSORS_ONLN) < 2;

private:
    template <typename Handle>
    static void handle_all(const epoll_event* ready, int n, Handle&& handle)
    {
        for (int i = 0; i < n; ++i) {
            handle(ready[i].data.fd, ready[i].events);
        }
    }
    void control(int operation, int fd, std::uint32_t events)
    {
        epoll_event event{};
        event.events = events;
        event.data.fd = fd;
        ::epoll_ctl(fd_.get(), operation, fd, &event);
    }

    unique_fd fd_;
};

} // namespace bench
