#include "shared_zone.h"

#include "ngx/process.h"

#include <csignal>
#include <cstring>
#include <new>
#include <pthread.h>
#include <random>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace llm;

namespace {

lease_owner me()
{
    const auto pid = static_cast<uint32_t>(getpid());
    return {pid, start_time_of(pid)};
}

bool gone(const lease_owner& owner)
{
    return is_gone(owner.pid, owner.started);
}

// A lock for the processes of a test, which is freed when its holder is killed, as nginx's.
class zone_lock {
public:
    zone_lock()
        : mutex_(static_cast<pthread_mutex_t*>(mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0)))
    {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(mutex_, &attributes);
    }
    ~zone_lock() { munmap(mutex_, sizeof *mutex_); }
    zone_lock(const zone_lock&) = delete;
    zone_lock& operator=(const zone_lock&) = delete;

    template <class F>
    void with(shared_zone& zone, F&& f)
    {
        if (pthread_mutex_lock(mutex_) == EOWNERDEAD) {
            pthread_mutex_consistent(mutex_);
        }
        zone->enter();
        f();
        zone->leave();
        pthread_mutex_unlock(mutex_);
    }

private:
    pthread_mutex_t* mutex_;
};

class publishers : public testing::Test {
protected:
    publisher::ticket begin()
    {
        return zone->begin_staging(
            me(), [&](auto&& change) { lock.with(zone, change); }, gone);
    }
    void publish(publisher::ticket ticket, size_t keys)
    {
        const key_file file = file_of("keys.json", keys);
        const key_file* files[] = {&file};
        key_table* table = key_table::write(zone->next_key_area(), files);
        lock.with(zone, [&] {
            ASSERT_TRUE(zone->publish(ticket, table));
            zone->end_staging(ticket);
        });
    }
    // The table in force is whole.
    void check_keys()
    {
        lock.with(zone, [&] {
            const uint32_t n = zone->keys()->keys();
            for (uint64_t i = 0; i < n; i++) {
                ASSERT_EQ(zone->check(zone.request(i)), verdict::ok);
            }
            ASSERT_EQ(zone->check(zone.request(n)), verdict::unknown);
        });
    }

    shared_zone zone;
    zone_lock lock;
};

// Runs f in a process of its own, which is killed once it has said so, or ends by itself.
template <class F>
pid_t child(F&& f)
{
    const pid_t pid = fork();
    if (pid == 0) {
        f();
        _exit(0);
    }
    return pid;
}

void end(pid_t pid)
{
    kill(pid, SIGKILL);
    ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
}

} // namespace

TEST_F(publishers, one_stages_and_the_other_is_told_to_wait)
{
    zone.publish(file_of("keys.json", 2));
    const auto never_gone = [](const lease_owner&) { return false; };
    const auto locked = [&](auto&& change) { lock.with(zone, change); };
    const publisher::ticket first = zone->begin_staging({10, 1}, locked, never_gone);
    ASSERT_NE(first, 0u);
    EXPECT_EQ(zone->begin_staging({20, 1}, locked, never_gone), 0u);
    EXPECT_EQ(zone->begin_staging({10, 2}, locked, never_gone), 0u) << "another process of the same pid";
    zone->end_staging(first);
    const publisher::ticket second = zone->begin_staging({20, 1}, locked, never_gone);
    EXPECT_NE(second, 0u);
    EXPECT_NE(second, first);
    zone->end_staging(first);
    EXPECT_EQ(zone->begin_staging({10, 1}, locked, never_gone), 0u) << "an old ticket gives nothing back";
    publish(second, 3);
    check_keys();
    EXPECT_EQ(zone->keys()->keys(), 3u);
}

TEST_F(publishers, a_ticket_that_is_lost_puts_nothing_in_force)
{
    zone.publish(file_of("keys.json", 2));
    const uint64_t generation = zone->generation();
    const auto locked = [&](auto&& change) { lock.with(zone, change); };
    const publisher::ticket lost =
        zone->begin_staging({10, 1}, locked, [](const lease_owner&) { return true; });
    const publisher::ticket ticket =
        zone->begin_staging({20, 1}, locked, [](const lease_owner&) { return true; });
    ASSERT_NE(ticket, 0u);
    const key_file file = file_of("keys.json", 5);
    const key_file* files[] = {&file};
    key_table* table = key_table::write(zone->next_key_area(), files);
    EXPECT_FALSE(zone->publish(lost, table));
    EXPECT_FALSE(zone->publish(0, table));
    EXPECT_EQ(zone->generation(), generation);
    EXPECT_EQ(zone->keys()->keys(), 2u);
    EXPECT_TRUE(zone->publish(ticket, table));
    EXPECT_EQ(zone->keys()->keys(), 5u);
}

TEST_F(publishers, who_begins_again_loses_what_he_had)
{
    const publisher::ticket first = begin();
    const publisher::ticket second = begin();
    ASSERT_NE(second, 0u);
    EXPECT_FALSE(zone->publish(first, nullptr));
    publish(second, 1);
    check_keys();
}

TEST_F(publishers, of_two_who_find_the_same_one_dead_one_takes_over)
{
    const auto locked = [&](auto&& change) { lock.with(zone, change); };
    ASSERT_NE(zone->begin_staging({10, 1}, locked, gone), 0u);
    publisher::ticket faster = 0;
    // The second has seen the dead one, and before it takes over the first has done so.
    const publisher::ticket slower = zone->begin_staging({30, 1}, locked, [&](const lease_owner& dead) {
        EXPECT_EQ(dead, (lease_owner{10, 1}));
        faster = zone->begin_staging({20, 1}, locked, [](const lease_owner&) { return true; });
        return true;
    });
    EXPECT_NE(faster, 0u);
    EXPECT_EQ(slower, 0u);
}

TEST_F(publishers, one_that_died_half_way_leaves_the_old_keys_in_force_and_the_room_usable)
{
    zone.publish(file_of("keys.json", 7));
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t pid = child([&] {
        const publisher::ticket ticket = begin();
        memset(zone->next_key_area(), 0xff, zone->key_area_bytes() / 2);
        (void)!write(ends[1], &ticket, sizeof ticket);
        pause();
    });
    publisher::ticket its = 0;
    ASSERT_EQ(read(ends[0], &its, sizeof its), static_cast<ssize_t>(sizeof its));
    EXPECT_NE(its, 0u);
    EXPECT_EQ(begin(), 0u) << "it lives";
    end(pid);
    close(ends[0]);
    close(ends[1]);
    check_keys();
    EXPECT_EQ(zone->keys()->keys(), 7u);
    const publisher::ticket ticket = begin();
    ASSERT_NE(ticket, 0u);
    EXPECT_FALSE(zone->publish(its, nullptr));
    publish(ticket, 4);
    check_keys();
    EXPECT_EQ(zone->keys()->keys(), 4u);
}

// Killed at any instruction, again and again: what is in force is whole, and is never what is written next.
TEST_F(publishers, one_that_is_killed_anywhere_leaves_whole_keys_in_force)
{
    zone.publish(file_of("keys.json", 1));
    std::mt19937_64 random(7);
    uint64_t generation = 0;
    for (int round = 0; round < 200; round++) {
        const pid_t pid = child([&] {
            for (size_t keys = 1;; keys = keys % 40 + 1) {
                if (const publisher::ticket ticket = begin(); ticket != 0) {
                    publish(ticket, keys);
                }
            }
        });
        ASSERT_GT(pid, 0);
        usleep(static_cast<useconds_t>(random() % 1500));
        end(pid);
        check_keys();
        const publisher::ticket ticket = begin();
        ASSERT_NE(ticket, 0u);
        const auto* force = reinterpret_cast<const char*>(zone->keys());
        const auto* next = static_cast<const char*>(zone->next_key_area());
        ASSERT_TRUE(force + zone->key_area_bytes() <= next || next + zone->key_area_bytes() <= force);
        memset(zone->next_key_area(), 0xff, zone->key_area_bytes());
        check_keys();
        ASSERT_GE(zone->generation(), generation);
        generation = zone->generation();
        lock.with(zone, [&] { zone->end_staging(ticket); });
    }
    EXPECT_GT(generation, 200u);
}

// Two processes write into the same room all the time; each sees only what is its own until it has published.
TEST_F(publishers, two_at_once_never_write_into_the_same_room)
{
    zone.publish(file_of("keys.json", 1));
    auto publish_many = [&](unsigned char mark) {
        for (int done = 0; done < 300;) {
            const publisher::ticket ticket = begin();
            if (ticket == 0) {
                sched_yield();
                continue;
            }
            auto* room = static_cast<unsigned char*>(zone->next_key_area());
            memset(room, mark, zone->key_area_bytes());
            sched_yield();
            for (size_t i = 0; i < zone->key_area_bytes(); i++) {
                if (room[i] != mark) {
                    _exit(1);
                }
            }
            publish(ticket, mark);
            done++;
        }
    };
    const pid_t a = child([&] { publish_many(3); });
    const pid_t b = child([&] { publish_many(5); });
    for (pid_t pid : {a, b}) {
        int status = -1;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    EXPECT_EQ(zone->generation(), 601u);
    check_keys();
}
