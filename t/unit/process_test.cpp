#include "ngx/process.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace llm;

uint32_t self()
{
    return static_cast<uint32_t>(getpid());
}

// The pid of a process that has ended.
uint32_t ended()
{
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    waitpid(pid, nullptr, 0);
    return static_cast<uint32_t>(pid);
}

TEST(process, runs_while_its_pid_and_its_start_are_the_same)
{
    const uint64_t started = start_time_of(self());
    ASSERT_NE(started, 0u);
    EXPECT_FALSE(is_gone(self(), started));
    EXPECT_FALSE(is_gone(self(), 0));
    EXPECT_TRUE(is_gone(self(), started + 1));
    EXPECT_TRUE(is_gone(self(), started - 1));
}

TEST(process, is_gone_with_its_pid)
{
    const uint32_t pid = ended();
    EXPECT_EQ(start_time_of(pid), 0u);
    EXPECT_TRUE(is_gone(pid, 1));
    EXPECT_TRUE(is_gone(pid, 0));
}

// nginx's master may be busy when a child ends: it waits for whoever holds what the child held.
TEST(process, is_gone_before_it_is_reaped)
{
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
    const auto number = static_cast<uint32_t>(pid);
    const uint64_t started = start_time_of(number);
    EXPECT_NE(started, 0u);
    EXPECT_TRUE(is_gone(number, started));
    EXPECT_TRUE(is_gone(number, 0));
    waitpid(pid, nullptr, 0);
}

// A worker, which is no root, looks at a process of root's.
TEST(process, is_gone_if_another_users_has_its_pid)
{
    enum : int { as_wanted, may_signal, no_start, takes_it_for_gone, takes_it_for_running, unknown_is_gone };
    const pid_t child = fork();
    if (child == 0) {
        constexpr uid_t nobody = 65534;
        if (geteuid() == 0 && setuid(nobody) != 0) {
            _exit(may_signal);
        }
        if (kill(1, 0) != -1 || errno != EPERM) {
            _exit(may_signal);
        }
        const uint64_t started = start_time_of(1);
        _exit(started == 0                ? no_start
              : is_gone(1, started)       ? takes_it_for_gone
              : is_gone(1, 0)             ? unknown_is_gone
              : !is_gone(1, started + 17) ? takes_it_for_running
                                          : as_wanted);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == may_signal || WEXITSTATUS(status) == no_start) {
        GTEST_SKIP() << "no process of another user that can be seen";
    }
    EXPECT_EQ(WEXITSTATUS(status), as_wanted);
}

} // namespace
