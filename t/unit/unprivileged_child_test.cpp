#include "ngx/keeper/unprivileged_child.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace llm;

constexpr child_user nobody{65534, 65534, "nobody"};
constexpr uint64_t long_enough_ms = 60'000;

child_result run(std::function<bool()> work, uint64_t limit_ms = long_enough_ms)
{
    return run_unprivileged(
        nobody, limit_ms, [](void* data) { return (*static_cast<std::function<bool()>*>(data))(); }, &work);
}

child_end end_of(std::function<bool()> work, uint64_t limit_ms = long_enough_ms)
{
    return run(std::move(work), limit_ms).is;
}

bool is_reaped(pid_t pid)
{
    return waitpid(pid, nullptr, WNOHANG) == -1 && errno == ECHILD;
}

TEST(unprivileged_child, tells_how_the_work_ended)
{
    EXPECT_EQ(end_of([] { return true; }), child_end::done);
    EXPECT_EQ(end_of([] { return false; }), child_end::failed);
    EXPECT_EQ(end_of([] { return kill(getpid(), SIGKILL) == 0; }), child_end::died);
    EXPECT_EQ(end_of([]() -> bool { _exit(0); }), child_end::died);
}

TEST(unprivileged_child, is_another_process_and_reaped)
{
    const pid_t self = getpid();
    const child_result result = run([&] { return getpid() != self && getppid() == self; });
    EXPECT_EQ(result.is, child_end::done);
    EXPECT_TRUE(is_reaped(result.pid));
}

TEST(unprivileged_child, has_no_rights_left)
{
    if (geteuid() != 0) {
        GTEST_SKIP() << "only root has rights to give up";
    }
    EXPECT_EQ(end_of([] {
                  gid_t groups[64];
                  const int n = getgroups(64, groups);
                  bool has_roots = n < 0;
                  for (int i = 0; i < n; i++) {
                      has_roots = has_roots || groups[i] == 0;
                  }
                  uid_t real = 0, effective = 0, saved = 0;
                  gid_t real_group = 0, effective_group = 0, saved_group = 0;
                  getresuid(&real, &effective, &saved);
                  getresgid(&real_group, &effective_group, &saved_group);
                  return !has_roots && real == 65534 && effective == 65534 && saved == 65534
                         && real_group == 65534 && effective_group == 65534 && saved_group == 65534
                         && setuid(0) != 0 && setgid(0) != 0 && access("/root", W_OK) != 0;
              }),
              child_end::done);
    EXPECT_EQ(geteuid(), 0u);
}

TEST(unprivileged_child, does_no_work_with_roots_rights)
{
    if (geteuid() != 0) {
        GTEST_SKIP() << "only root has rights to give up";
    }
    auto* worked = static_cast<bool*>(
        mmap(nullptr, sizeof(bool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const child_result result = run_unprivileged(
        {static_cast<uid_t>(-1), 65534, "nobody"}, long_enough_ms,
        [](void* data) { return *static_cast<bool*>(data) = true; }, worked);
    EXPECT_EQ(result.is, child_end::no_rights);
    EXPECT_FALSE(*worked);
    munmap(worked, sizeof(bool));
}

TEST(unprivileged_child, is_killed_when_its_time_is_up)
{
    const child_result result = run(
        [] {
            pause();
            return true;
        },
        20);
    EXPECT_EQ(result.is, child_end::too_long);
    EXPECT_TRUE(is_reaped(result.pid));
}

// The end of a service is told to all of its processes.
TEST(unprivileged_child, is_not_ended_by_other_signals)
{
    EXPECT_EQ(end_of([] {
                  for (const int signal_number : {SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1, SIGWINCH}) {
                      raise(signal_number);
                  }
                  return true;
              }),
              child_end::done);
}

int handled;

// nginx's handler reaps all children that have ended, and takes what it does not know for a fault.
TEST(unprivileged_child, is_no_business_of_a_handler_of_sigchld)
{
    handled = 0;
    struct sigaction reap {
    }, before{};
    reap.sa_handler = [](int) {
        while (waitpid(-1, nullptr, WNOHANG) > 0) {
            handled++;
        }
    };
    sigaction(SIGCHLD, &reap, &before);
    EXPECT_EQ(end_of([] { return true; }), child_end::done);
    EXPECT_EQ(handled, 0);
    signal(SIGCHLD, SIG_IGN);
    EXPECT_EQ(end_of([] { return true; }), child_end::done);
    EXPECT_EQ(end_of([] { return false; }), child_end::failed);
    sigaction(SIGCHLD, &before, nullptr);
}

} // namespace
