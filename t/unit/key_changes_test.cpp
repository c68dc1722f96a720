#include "core/shared/key_changes.h"
#include "core/shared/key_records.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>

namespace {

using namespace llm;

digest digest_of(uint8_t seed)
{
    digest d{};
    d.fill(seed);
    return d;
}

key_file sample()
{
    key_file file;
    file.path = "/keys.json";
    file.stamp = {1, 2, 3, 4, 5, 0};
    file.read_ms = 17;
    file.policies = {{}, {}};
    file.policies[1].limit.requests = {10, 1000};
    file.policies[1].models = {"a", "b*"};
    file.policies[1].networks.resize(2);
    file.policies[1].networks[1].prefix = 8;
    file.policies[1].request = std::string("rules\0", 6);
    file.policies[1].plan = "pro";
    file.keys = {{"alice", "al", {digest_of(1), digest_of(2)}, 7, 1, true},
                 {"bob", "", {digest_of(3)}, 0, 0, false},
                 {"carol", "carol", {digest_of(4)}, 0, 1, true}};
    return file;
}

// Tables with their memory.
class tables {
public:
    key_table& write(const key_file& file) { return write(std::vector<const key_file*>{&file}); }
    key_table& write(const std::vector<const key_file*>& files)
    {
        auto& memory = memory_.emplace_back(key_table::bytes(files) + 63);
        void* at =
            reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~uintptr_t{63});
        return *key_table::write(at, files);
    }

private:
    std::deque<std::vector<char>> memory_;
};

key_changes changes(void (*change)(key_file&))
{
    tables all;
    key_file after = sample();
    change(after);
    return compare(&all.write(sample()), all.write(after));
}

void expect(const key_changes& got, uint32_t added, uint32_t removed, uint32_t changed)
{
    EXPECT_EQ(got.added, added);
    EXPECT_EQ(got.removed, removed);
    EXPECT_EQ(got.changed, changed);
    EXPECT_EQ(got.any(), added + removed + changed != 0);
}

TEST(key_changes, tells_what_is_new_gone_and_other)
{
    expect(changes([](key_file&) {}), 0, 0, 0);
    expect(changes([](key_file& f) { f.keys.pop_back(); }), 0, 1, 0);
    expect(changes([](key_file& f) { f.keys.clear(); }), 0, 3, 0);
    expect(changes([](key_file& f) { f.keys.push_back({"dave", "", {digest_of(9)}}); }), 1, 0, 0);
    expect(changes([](key_file& f) { f.keys[1].name = "bert"; }), 1, 1, 0);
    expect(changes([](key_file& f) { std::swap(f.keys[0], f.keys[2]); }), 0, 0, 0);
}

TEST(key_changes, sees_every_property_of_a_key)
{
    expect(changes([](key_file& f) { f.keys[0].enabled = false; }), 0, 0, 1);
    expect(changes([](key_file& f) { f.keys[0].admin = true; }), 0, 0, 1);
    expect(changes([](key_file& f) { f.keys[0].expires = 8; }), 0, 0, 1);
    expect(changes([](key_file& f) { f.keys[0].user = "other"; }), 0, 0, 1);
    expect(changes([](key_file& f) { f.keys[0].digests.pop_back(); }), 0, 0, 1);
    expect(changes([](key_file& f) { f.keys[0].digests[1] = digest_of(9); }), 0, 0, 1);
    expect(changes([](key_file& f) { f.keys[0].policy = 0; }), 0, 0, 1);
    expect(changes([](key_file& f) { f.policies[1].limit.requests = {11, 1000}; }), 0, 0, 2);
    expect(changes([](key_file& f) { f.policies[1].limit.burst = 3; }), 0, 0, 2);
    expect(changes([](key_file& f) { f.policies[1].models[1] = "c"; }), 0, 0, 2);
    expect(changes([](key_file& f) { f.policies[1].networks[0].prefix = 16; }), 0, 0, 2);
    expect(changes([](key_file& f) { f.policies[1].plan = "basic"; }), 0, 0, 2);
    expect(changes([](key_file& f) { f.policies[1].request = "rules"; }), 0, 0, 2);
}

TEST(key_changes, tells_files_apart)
{
    tables all;
    const key_file one = sample();
    key_file other = sample();
    other.path = "/other.json";
    key_table& both = all.write(std::vector<const key_file*>{&one, &other});
    expect(compare(nullptr, both), 6, 0, 0);
    expect(compare(&both, all.write(one)), 0, 3, 0);
    expect(compare(&all.write(one), both), 3, 0, 0);
    expect(compare(&all.write(one), all.write(other)), 3, 3, 0);
}

TEST(key_records, are_what_the_table_was_written_from)
{
    tables all;
    key_file from = sample();
    from.keys[0].admin = true;
    key_table& table = all.write(from);
    const key_file again = records_of(table.files().front());
    EXPECT_EQ(again.path, from.path);
    EXPECT_EQ(again.stamp, from.stamp);
    EXPECT_EQ(again.read_ms, from.read_ms);
    ASSERT_EQ(again.keys.size(), 3u);
    EXPECT_EQ(again.keys[0].digests, from.keys[0].digests);
    EXPECT_TRUE(again.keys[0].admin);
    EXPECT_EQ(again.keys[1].user, "");
    EXPECT_EQ(again.policies[1].plan, "pro");
    EXPECT_EQ(again.policies[1].request, from.policies[1].request);
    EXPECT_EQ(again.policies[1].models, from.policies[1].models);
    EXPECT_EQ(again.policies[1].networks, from.policies[1].networks);
    expect(compare(&table, all.write(again)), 0, 0, 0);
}

TEST(key_records, of_a_file_without_keys)
{
    tables all;
    key_file from;
    from.path = "/keys.json";
    from.policies = {{}};
    const key_file again = records_of(all.write(from).files().front());
    EXPECT_EQ(again.policies.size(), 1u);
    EXPECT_TRUE(again.keys.empty());
}

} // namespace
