#include "ctl/zone_size.h"

#include "shared_zone.h"

#include <algorithm>
#include <random>

using namespace llm;
using namespace llm::ctl;

namespace {

zone_needs drawn(std::mt19937& engine)
{
    // Of all magnitudes alike.
    const auto up_to = [&](unsigned bits) { return engine() >> (32 - 1 - engine() % bits); };
    zone_needs n;
    n.keys = up_to(14);
    n.users = up_to(14) % (n.keys + 1);
    n.used = n.keys - up_to(14) % (n.keys + 1);
    n.models = up_to(6);
    n.all_models = n.models + up_to(8);
    n.requests = up_to(14);
    n.addresses = up_to(12);
    n.named = n.used != 0 ? up_to(10) : 0;
    return n;
}

} // namespace

TEST(zone_size, has_room_for_what_it_was_made_for)
{
    std::mt19937 engine(1);
    for (int i = 0; i < 60; i++) {
        const zone_needs n = drawn(engine);
        const auto size = zone_size_for(n);
        ASSERT_TRUE(size);
        // nginx takes some.
        shared_zone zone(size->bytes - size->bytes / 128 - 8192);
        const shared_state& s = *zone.operator->();
        EXPECT_GE(s.leases().capacity(), n.requests);
        const uint64_t names = n.all_models + n.addresses + n.named;
        EXPECT_GE(s.subjects().capacity(), n.keys + n.users + names);
        EXPECT_GE(s.subjects().capacity() / 2, names);
        // As subject_table has it, once it knows what the keys need.
        const uint64_t capacity = s.subjects().capacity();
        const uint64_t name_room = std::min(capacity / 2, capacity - (n.keys + n.users + 1));
        EXPECT_GE(std::max(name_room / 16, uint64_t{subject_table::few_names}), n.models + n.named)
            << "of one key";
        EXPECT_GE(s.counted().max_users_of_one(), n.named);
        EXPECT_GE(s.counted().max_named_users(), n.named);
        EXPECT_GT(s.counted().series().capacity(), (n.used + n.named) * (n.models + 1));
        EXPECT_GE(s.counted().max_series_of_one(), n.models + 1);
        EXPECT_GE(s.counted().clients().capacity(), n.used + n.named + 2);
        EXPECT_GE(s.counted().models().capacity(), n.all_models + 2);
        EXPECT_GE(s.counted().max_models_of_one(), n.models);
        const key_file keys = file_of("keys.json", n.keys);
        const key_file* files[] = {&keys};
        EXPECT_GE(s.key_area_bytes(), key_table::bytes(files)) << n.keys;
    }
}

TEST(zone_size, says_what_is_in_the_zone_and_what_decides)
{
    std::mt19937 engine(2);
    for (int i = 0; i < 60; i++) {
        zone_needs n = drawn(engine);
        const auto size = zone_size_for(n);
        ASSERT_TRUE(size);
        shared_zone zone(size->bytes - size->bytes / 128 - 8192);
        EXPECT_EQ(zone->leases().capacity(), size->parts[0].room);
        EXPECT_EQ(zone->subjects().capacity(), size->parts[1].room);
        EXPECT_EQ(zone->counted().series().capacity(), size->parts[2].room);
        if (!size->decides) {
            EXPECT_EQ(size->bytes, 512u << 10);
            continue;
        }
        // The one that decides is nearly full, but for what a step makes.
        const zone_part& part = size->parts[*size->decides];
        const uint64_t step = size->bytes <= 1 << 20 ? 64 << 10 : 1 << 20;
        EXPECT_GT(part.needed + part.room * step / (size->bytes - step) * 2 + 2, part.room) << part.name;
    }
}

TEST(zone_size, no_zone_is_endless)
{
    EXPECT_FALSE(zone_size_for({.requests = 10'000'000'000}));
    EXPECT_EQ(zone_size_text(zone_size_for({})->bytes), "512k");
    EXPECT_EQ(zone_size_text(960 << 10), "960k");
    EXPECT_EQ(zone_size_text(12 << 20), "12m");
}
