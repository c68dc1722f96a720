#include "process.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace llm {

uint64_t start_time_of(uint32_t pid)
{
    char text[1024];
    snprintf(text, sizeof text, "/proc/%u/stat", pid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';

    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    const char* p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p + 1, ' ');
    }
    return p ? strtoull(p + 1, nullptr, 10) : 0;
}

bool is_gone(uint32_t pid, uint64_t started)
{
    // The first that says something. That the process is another user's (EPERM) says nothing: so may be the
    // one that is looked for, after a reload that changes the user.
    const uint64_t runs_since = started != 0 ? start_time_of(pid) : 0;
    if (runs_since != 0) {
        return runs_since != started;
    }
    return kill(static_cast<pid_t>(pid), 0) == -1 && errno == ESRCH;
}

} // namespace llm
