#include "shared_zone.h"

#include <csignal>
#include <set>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace llm;

namespace {

class leases : public testing::Test {
protected:
    leases() { zone.publish(file_of("keys.json", 2)); }

    lease& admit() { return *zone.admit(zone.request(0)).taken; }
    uint32_t place(const lease& l) { return zone->leases().index_of(l); }

    shared_zone zone;
};

} // namespace

TEST_F(leases, a_serial_is_never_used_twice)
{
    std::set<uint64_t> seen;
    std::vector<lease*> running;
    for (int i = 0; i < 1000; i++) {
        running.push_back(&admit());
        EXPECT_TRUE(seen.insert(running.back()->serial).second);
        if (running.size() == 10) {
            for (lease* l : running) {
                zone->settle(*l, {}, {});
            }
            running.clear();
            // Set right after a kill, and used with other keys.
            zone->enter();
            zone->enter();
            zone->leave();
            zone.publish(file_of("keys.json", 2));
        }
    }
    EXPECT_FALSE(seen.contains(0));
}

// The children are killed at any instruction; each says of every lease that it got what its serial was.
TEST_F(leases, a_serial_is_never_used_twice_by_those_who_were_killed)
{
    std::set<uint64_t> seen;
    for (int round = 0; round < 100; round++) {
        int ends[2];
        ASSERT_EQ(pipe(ends), 0);
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            close(ends[0]);
            for (;;) {
                zone->enter();
                lease& l = admit();
                const uint64_t serial = l.serial;
                zone->leave();
                if (write(ends[1], &serial, sizeof serial) != sizeof serial) {
                    _exit(1);
                }
                zone->enter();
                zone->settle(l, {}, {});
                zone->leave();
            }
        }
        close(ends[1]);
        for (int n = 0; n < 20 + round; n++) {
            uint64_t serial = 0;
            ASSERT_EQ(read(ends[0], &serial, sizeof serial), static_cast<ssize_t>(sizeof serial));
            ASSERT_TRUE(seen.insert(serial).second);
        }
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        for (uint64_t serial = 0; read(ends[0], &serial, sizeof serial) == sizeof serial;) {
            ASSERT_TRUE(seen.insert(serial).second);
        }
        close(ends[0]);
        zone->enter();
        for (uint32_t i = 0; i < zone->leases().high_water(); i++) {
            lease& l = const_cast<lease&>(zone->leases().at(i));
            if (lease::is_taken(l.is)) {
                ASSERT_TRUE(seen.contains(l.serial) || seen.insert(l.serial).second);
                zone->settle(l, {}, {});
            }
        }
        zone->leave();
    }
}

TEST_F(leases, a_request_is_stopped_by_its_name_and_the_next_in_its_place_is_not)
{
    lease& first = admit();
    const uint32_t index = place(first);
    const uint64_t serial = first.serial;
    EXPECT_EQ(first.stopped(), stop_reason::none);
    EXPECT_FALSE(zone->stop(index, serial + 1, stop_reason::asked));
    EXPECT_FALSE(zone->stop(index + 1, serial, stop_reason::asked));
    EXPECT_FALSE(zone->stop(no_index, serial, stop_reason::asked));
    EXPECT_EQ(first.stopped(), stop_reason::none);
    EXPECT_TRUE(zone->stop(index, serial, stop_reason::key_revoked));
    EXPECT_TRUE(zone->stop(index, serial, stop_reason::asked));
    EXPECT_EQ(first.stopped(), stop_reason::key_revoked) << "the first reason stays";
    zone->settle(first, {}, {});
    EXPECT_FALSE(zone->stop(index, serial, stop_reason::asked));

    lease& next = admit();
    ASSERT_EQ(place(next), index);
    EXPECT_EQ(next.stopped(), stop_reason::none);
    EXPECT_FALSE(zone->stop(index, serial, stop_reason::asked));
    EXPECT_EQ(next.stopped(), stop_reason::none);
}

TEST_F(leases, another_process_stops_a_request_and_its_owner_sees_it_without_the_lock)
{
    lease& l = admit();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        zone->enter();
        const bool done = zone->stop(place(l), l.serial, stop_reason::asked);
        zone->leave();
        _exit(done ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(l.stopped(), stop_reason::asked);
}

TEST_F(leases, a_lease_has_no_peer_until_its_owner_names_one)
{
    lease& l = admit();
    EXPECT_EQ(l.peer, lease::no_peer);
    l.set_peer(7);
    EXPECT_EQ(l.peer, 7u);
    zone->settle(l, {}, {});
    EXPECT_EQ(admit().peer, lease::no_peer);
}

TEST_F(leases, are_counted_by_state)
{
    lease& a = admit();
    admit();
    EXPECT_EQ(zone->leases().taken(), 2u);
    EXPECT_EQ(zone->leases().in_state(lease::state::running), 2u);
    zone->settle(a, {}, {});
    EXPECT_EQ(zone->leases().taken(), 1u);
    zone->enter();
    zone->enter();
    zone->leave();
    EXPECT_EQ(zone->leases().taken(), 1u);
    EXPECT_EQ(zone->leases().running(), 1u);
    EXPECT_EQ(zone->leases().in_state(lease::state::free), 1u);
    EXPECT_FALSE(lease::is_counted(lease::state::free));
    EXPECT_TRUE(lease::is_counted(lease::state::running));
}

// Room for one lease is what it was.
static_assert(sizeof(lease) == 512);
