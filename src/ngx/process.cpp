#include "process.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace llm {

namespace {

struct process_state {
    bool has_ended = false; // it only waits to be reaped
    uint64_t started = 0;   // 0: cannot be read
};

process_state look_at(uint32_t pid)
{
    char text[1024];
    snprintf(text, sizeof text, "/proc/%u/stat", pid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return {};
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return {};
    }
    text[n] = '\0';

    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    const char* p = strrchr(text, ')');
    process_state state;
    state.has_ended = p && (p[1] == ' ') && (p[2] == 'Z' || p[2] == 'X');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p + 1, ' ');
    }
    state.started = p ? strtoull(p + 1, nullptr, 10) : 0;
    return state;
}

} // namespace

uint64_t start_time_of(uint32_t pid)
{
    return look_at(pid).started;
}

bool is_gone(uint32_t pid, uint64_t started)
{
    // The first that says something. That the process is another user's (EPERM) says nothing: so may be the
    // one that is looked for, after a reload that changes the user.
    const process_state now = look_at(pid);
    if (now.has_ended) {
        return true;
    }
    if (started != 0 && now.started != 0) {
        return now.started != started;
    }
    return kill(static_cast<pid_t>(pid), 0) == -1 && errno == ESRCH;
}

} // namespace llm
