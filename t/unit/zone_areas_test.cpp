#include "shared_zone.h"

#include <cstring>
#include <set>
#include <string>

using namespace llm;

namespace {

constexpr zone_areas::area all_areas[] = {zone_areas::requests, zone_areas::counters, zone_areas::learned,
                                          zone_areas::series,   zone_areas::clients,  zone_areas::models,
                                          zone_areas::book,     zone_areas::callers,  zone_areas::journal,
                                          zone_areas::owners,   zone_areas::keys,     zone_areas::next_keys};
static_assert(std::size(all_areas) == zone_areas::count);

size_t sum_of(const shared_state::part_list& parts)
{
    size_t sum = 0;
    for (const area_bytes& part : parts) {
        sum += part.used + part.free;
    }
    return sum;
}

} // namespace

TEST(zone_areas, the_parts_add_up_to_the_zone)
{
    for (size_t size :
         {shared_state::min_bytes, size_t{1000} << 10, (size_t{5} << 20) + 64, size_t{32} << 20}) {
        shared_zone zone(size);
        const size_t outside = 5000;
        const auto empty = zone->parts(size + outside);
        EXPECT_EQ(sum_of(empty), size + outside);
        std::set<std::string_view> names;
        for (const area_bytes& part : empty) {
            EXPECT_TRUE(names.insert(part.name).second) << part.name;
            EXPECT_TRUE(part.fills || part.free == 0) << part.name;
        }
        EXPECT_EQ(zone.part("requests").used, 0u);
        EXPECT_EQ(zone.part("requests").free, zone->leases().capacity() * sizeof(lease));
        EXPECT_EQ(zone.part("counters").free, zone->subjects().capacity() * sizeof(subject));
        // The first ones are there from the beginning.
        EXPECT_EQ(zone.part("series").free, (zone->counted().series().capacity() - 1) * sizeof(book_series));
        EXPECT_EQ(zone.part("clients").free,
                  (zone->counted().clients().capacity() - 2) * sizeof(book_client));
        EXPECT_EQ(zone.part("models").free, (zone->counted().models().capacity() - 2) * sizeof(book_model));
        EXPECT_EQ(zone.part("keys").used, 0u);
        EXPECT_EQ(zone.part("keys").free, zone->key_area_bytes());
        EXPECT_EQ(zone.part("reserved").used, zone->key_area_bytes());
        EXPECT_EQ(zone.part("owners").free, shared_state::max_owners * sizeof(lease_owner));
        EXPECT_EQ(empty.back().name, "fixed");
        EXPECT_GE(empty.back().used, sizeof(shared_state) + outside);
        EXPECT_LT(empty.back().used, sizeof(shared_state) + outside + 1024);
    }
}

TEST(zone_areas, each_says_how_full_it_is)
{
    shared_zone zone;
    const area_bytes counters = zone.part("counters");
    const auto empty = zone->parts(1 << 20);
    zone.publish(file_of("keys.json", 3));
    const uint32_t owner = zone->claim_owner({1, 1});
    zone->claim_owner({2, 2});
    lease* l = zone.admit(zone.request(0, "m", owner)).taken;
    zone.admit(zone.request(1, "m", owner));
    EXPECT_EQ(sum_of(zone->parts(1 << 20)), size_t{1} << 20);
    EXPECT_EQ(zone.part("requests").used, 2 * sizeof(lease));
    // Two keys of one user.
    EXPECT_EQ(zone.part("counters").used, counters.used + 3 * sizeof(subject));
    EXPECT_EQ(zone.part("keys").used, zone->keys()->size());
    EXPECT_EQ(zone.part("owners").used, 2 * sizeof(lease_owner));
    for (size_t i = 0; i < empty.size(); i++) {
        if (!empty[i].fills) {
            EXPECT_EQ(zone->parts(1 << 20)[i].used, empty[i].used) << empty[i].name;
        }
    }

    zone->settle(*l, {}, {});
    EXPECT_EQ(zone.part("requests").used, sizeof(lease));
    zone->take_back(owner, {1, 1}, {}, [](auto&& change) { change(); });
    EXPECT_EQ(zone.part("requests").used, 0u);
    EXPECT_EQ(zone.part("owners").used, sizeof(lease_owner));
}

TEST(zone_areas, a_division_keeps_within_the_room_and_wastes_little_of_it)
{
    for (size_t room = 240 << 10; room < (64 << 20); room += room / 7 / 64 * 64) {
        const zone_areas::division d = zone_areas::divide(room);
        size_t sum = 0;
        for (zone_areas::area a : all_areas) {
            EXPECT_EQ(d.bytes[a] % 64, 0u);
            EXPECT_NE(d.records[a], 0u);
            sum += d.bytes[a];
        }
        EXPECT_LE(sum, room);
        EXPECT_GT(sum + 128, room);
    }
}

// What a zone of a size holds is not to become less: bytes for each key and each lease.
TEST(zone_areas, a_zone_holds_what_it_held)
{
    shared_zone zone(32 << 20);
    EXPECT_GE(zone->leases().capacity(), 7150u);
    EXPECT_GE(zone->subjects().capacity(), 34900u);
    EXPECT_GE(zone->key_area_bytes(), 4150000u);
    EXPECT_EQ(sizeof(subject), 320u);
    EXPECT_EQ(sizeof(lease), 512u);
    EXPECT_EQ(sizeof(shared_key), 64u);
}

// Nothing of one area lies in another: each is filled, and the others stay as they are.
TEST(zone_areas, do_not_overlap)
{
    shared_zone zone(shared_state::min_bytes);
    zone.publish(file_of("keys.json", 30));
    limits l;
    l.requests = {1000, 1000};
    const limit_rule rules[] = {{subject_kind::model, l}, {subject_kind::address, l}};
    for (int i = 0; i < 3000; i++) {
        const std::string model = "model" + std::to_string(i);
        admission_request r = zone.request(static_cast<uint64_t>(i % 30), model);
        r.rules = rules;
        if (!zone.admit(r).taken) {
            break;
        }
        zone->learned().learn(model, model, {100, 0, 1}, {100, 100, 100});
    }
    EXPECT_EQ(zone.part("requests").free, 0u);
    memset(zone->next_key_area(), 0xff, zone->key_area_bytes());
    for (uint32_t i = 0; i < shared_state::max_owners; i++) {
        EXPECT_EQ(zone->claim_owner({i + 1, ~0ull}), i);
    }
    for (uint64_t i = 0; i < 30; i++) {
        EXPECT_EQ(zone->check(zone.request(i)), verdict::ok);
    }
    EXPECT_EQ(zone->leases().running(), zone->leases().capacity());
    zone->enter();
    zone->enter();
    zone->leave();
    EXPECT_EQ(zone->leases().running(), zone->leases().capacity());
}
