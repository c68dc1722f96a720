#include "program_output.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace llm::ctl {

namespace {

constexpr size_t most = size_t{64} << 20;

struct pipe_ends {
    int ends[2] = {-1, -1};
    ~pipe_ends()
    {
        close_end(0);
        close_end(1);
    }
    bool open() { return pipe2(ends, O_CLOEXEC) == 0; }
    void close_end(int which)
    {
        if (ends[which] >= 0) {
            close(ends[which]);
            ends[which] = -1;
        }
    }
};

// Takes what has come. False at the end.
bool take(int fd, std::string& to)
{
    char buffer[16384];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    if (to.size() < most) {
        to.append(buffer, static_cast<size_t>(n));
    }
    return n > 0;
}

} // namespace

program_result run_program(const std::vector<std::string>& words)
{
    program_result result;
    pipe_ends out, err;
    if (!out.open() || !err.open()) {
        return result;
    }
    std::vector<char*> list;
    for (const std::string& word : words) {
        list.push_back(const_cast<char*>(word.c_str()));
    }
    list.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err.ends[1], STDERR_FILENO);
    pid_t pid = -1;
    const int failed = posix_spawn(&pid, list[0], &actions, nullptr, list.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) {
        return result;
    }
    out.close_end(1);
    err.close_end(1);
    pollfd waits[] = {{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}};
    while (waits[0].fd >= 0 || waits[1].fd >= 0) {
        if (poll(waits, 2, -1) < 0 && errno != EINTR) {
            break;
        }
        for (int i = 0; i < 2; i++) {
            if (waits[i].fd >= 0 && waits[i].revents
                && !take(waits[i].fd, i == 0 ? result.out : result.err)) {
                waits[i].fd = -1;
            }
        }
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
}

std::string find_program(const std::string& name, const std::string& more)
{
    const char* path = getenv("PATH");
    const std::string folders = std::string(path ? path : "/usr/bin:/bin") + ":" + more + ":";
    for (size_t start = 0, end; (end = folders.find(':', start)) != std::string::npos; start = end + 1) {
        // An empty one would mean the current folder, whose programs are not to be trusted.
        if (end == start || folders[start] != '/') {
            continue;
        }
        const std::string file = folders.substr(start, end - start) + "/" + name;
        struct stat info;
        if (access(file.c_str(), X_OK) == 0 && stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
            return file;
        }
    }
    return {};
}

} // namespace llm::ctl
