#include "unprivileged_child.h"

#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace llm {

namespace {

// What the child tells by the pipe. Its exit code would be lost where SIGCHLD is ignored.
enum word : char { no_word = 0, said_done, said_failed, said_no_rights };

// How long the end of a child may take that was killed.
constexpr int kill_limit_ms = 1000;

uint64_t now_ms()
{
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1'000'000;
}

// In the order in which nginx does it for its workers.
bool give_up_rights(const child_user& as)
{
    if (geteuid() == 0) {
        if (setgid(as.group) != 0 || initgroups(as.name, as.group) != 0 || setuid(as.user) != 0) {
            return false;
        }
        if (as.user != 0 && setuid(0) == 0) {
            return false;
        }
    }
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

// The handlers are the master's, which only set what its loop looks at. A service manager may send its signal
// for the end to all processes: this one is to come to an end by itself, and is waited for.
void ignore_signals()
{
    constexpr int of_nginx[] = {SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGIO};
    for (const int signal_number : of_nginx) {
        signal(signal_number, SIG_IGN);
    }
    signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void be_child(int to_parent, const child_user& as, bool (*work)(void*), void* data)
{
    ignore_signals();
    char said = said_no_rights;
    if (give_up_rights(as)) {
        said = work(data) ? said_done : said_failed;
    }
    const ssize_t written = write(to_parent, &said, 1);
    _exit(said == said_done && written == 1 ? 0 : 1);
}

// False if the time is up.
bool wait_readable(int fd, uint64_t deadline_ms)
{
    for (;;) {
        const uint64_t now = now_ms();
        if (now >= deadline_ms) {
            return false;
        }
        pollfd what{fd, POLLIN, 0};
        const int n = poll(&what, 1, static_cast<int>(deadline_ms - now));
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
    }
}

word read_word(int fd)
{
    char said = no_word;
    ssize_t n = 0;
    do {
        n = read(fd, &said, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1 ? static_cast<word>(said) : no_word;
}

// A child that cannot be killed, for it waits for a disk, is left to whoever reaps the others.
void reap_killed(pid_t pid)
{
    for (int ms = 0; ms < kill_limit_ms && waitpid(pid, nullptr, WNOHANG) == 0; ms++) {
        constexpr timespec pause{0, 1'000'000};
        nanosleep(&pause, nullptr);
    }
}

child_end end_of(pid_t pid, int from_child, uint64_t limit_ms)
{
    if (!wait_readable(from_child, now_ms() + limit_ms)) {
        kill(pid, SIGKILL);
        reap_killed(pid);
        return child_end::too_long;
    }
    const word said = read_word(from_child);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    switch (said) {
    case said_done:
        return child_end::done;
    case said_failed:
        return child_end::failed;
    case said_no_rights:
        return child_end::no_rights;
    case no_word:
        break;
    }
    return child_end::died;
}

} // namespace

child_result run_unprivileged(const child_user& as, uint64_t limit_ms, bool (*work)(void*), void* data)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return {child_end::no_process, 0};
    }
    sigset_t child_signal, before;
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, &before);

    child_result result{child_end::no_process, fork()};
    if (result.pid == 0) {
        close(ends[0]);
        be_child(ends[1], as, work, data);
    }
    const int why = errno;
    close(ends[1]);
    if (result.pid > 0) {
        result.is = end_of(result.pid, ends[0], limit_ms);
    }
    close(ends[0]);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    errno = why;
    return result;
}

} // namespace llm
