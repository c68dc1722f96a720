#include "core/shared/file_list.h"
#include "core/shared/key_hints.h"
#include "core/shared/key_table.h"

#include "shared_zone.h"

#include <algorithm>
#include <vector>

using namespace llm;

namespace {

constexpr uint8_t v4[] = {10, 1, 2, 3};

class table_of {
public:
    explicit table_of(std::vector<key_file> files) : files_(std::move(files))
    {
        std::vector<const key_file*> pointers;
        for (const key_file& f : files_) {
            pointers.push_back(&f);
        }
        // One byte more than it asks for, to see that it keeps within.
        size_t bytes = key_table::bytes(pointers);
        memory_ = aligned_alloc(64, (bytes + 1 + 63) / 64 * 64);
        end_ = static_cast<uint8_t*>(memory_) + bytes;
        *end_ = 0x5a;
        table_ = key_table::write(memory_, pointers);
    }
    ~table_of()
    {
        EXPECT_EQ(*end_, 0x5a);
        free(memory_);
    }

    verdict check(std::string_view file, uint64_t number, std::span<const uint8_t> address = v4,
                  int64_t now = 0)
    {
        return table_->check(name_hash(file), digest_of_number(number), address, now, found);
    }

    shared_key* found = nullptr;
    key_table* operator->() const { return table_; }
    const key_table& operator*() const { return *table_; }

private:
    std::vector<key_file> files_;
    void* memory_;
    uint8_t* end_;
    key_table* table_;
};

network v4_network(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint8_t prefix)
{
    network n;
    n.address = {a, b, c, d};
    n.prefix = prefix;
    return n;
}

bool allows(std::vector<network> networks, std::span<const uint8_t> address)
{
    key_file file = file_of("f", 1);
    file.policies.push_back({{}, {}, std::move(networks)});
    file.keys[0].policy = 1;
    table_of table({file});
    return table.check("f", 0, address) == verdict::ok;
}

} // namespace

TEST(key_table, finds_every_key_and_no_other)
{
    table_of table({file_of("a", 1000)});
    for (uint64_t i = 0; i < 1000; i++) {
        ASSERT_EQ(table.check("a", i), verdict::ok);
        ASSERT_EQ(table.found->name.view(), "key" + std::to_string(i));
        ASSERT_EQ(table.found->user.view(), "user" + std::to_string(i / 2));
    }
    for (uint64_t i = 1000; i < 3000; i++) {
        ASSERT_EQ(table.check("a", i), verdict::unknown);
        ASSERT_EQ(table.found, nullptr);
    }
}

TEST(key_table, knows_the_plan_of_a_key)
{
    key_file file = file_of("a", 2);
    file.policies.push_back({{}, {}, {}, "pro"});
    file.keys[1].policy = 1;
    table_of table({file});
    ASSERT_EQ(table.check("a", 0), verdict::ok);
    EXPECT_EQ(table.found->policy->plan.view(), "");
    ASSERT_EQ(table.check("a", 1), verdict::ok);
    EXPECT_EQ(table.found->policy->plan.view(), "pro");
}

TEST(key_table, digests_that_differ_in_any_byte_are_other_keys)
{
    table_of table({file_of("a", 3)});
    for (size_t byte = 0; byte < sizeof(digest); byte++) {
        digest d = digest_of_number(1);
        d[byte] ^= 1;
        shared_key* found;
        EXPECT_EQ(table->check(name_hash("a"), d, v4, 0, found), verdict::unknown) << byte;
    }
}

TEST(key_table, a_key_opens_its_own_file_only)
{
    key_file other = file_of("b", 1);
    other.keys[0].digests = {digest_of_number(77)};
    table_of table({file_of("a", 1), other});
    EXPECT_EQ(table.check("a", 0), verdict::ok);
    EXPECT_EQ(table.check("b", 0), verdict::unknown);
    EXPECT_EQ(table.check("b", 77), verdict::ok);
    EXPECT_EQ(table.check("c", 77), verdict::no_such_file);
    EXPECT_EQ(table->keys(), 2u);
}

TEST(key_table, an_empty_file_knows_nobody)
{
    table_of table({file_of("a", 0)});
    EXPECT_EQ(table.check("a", 0), verdict::unknown);
}

TEST(key_table, several_digests_are_one_key)
{
    key_file file = file_of("a", 2);
    file.keys[1].digests = {digest_of_number(50), digest_of_number(51)};
    table_of table({file});
    EXPECT_EQ(table.check("a", 50), verdict::ok);
    shared_key* first = table.found;
    EXPECT_EQ(table.check("a", 51), verdict::ok);
    EXPECT_EQ(table.found, first);
    EXPECT_EQ(table.check("a", 1), verdict::unknown);
}

TEST(key_table, digests_that_begin_alike_are_different_keys)
{
    auto alike = [](uint8_t last) {
        digest d = digest_of_number(7);
        d.back() = last;
        return d;
    };
    key_file file = file_of("a", 3);
    file.keys[0].digests = {alike(1), alike(2)};
    file.keys[1].digests = {alike(3)};
    file.keys[2].digests = {alike(4), alike(5)};
    table_of table({file});
    const shared_key* keys[6] = {};
    for (uint8_t n = 1; n <= 5; n++) {
        shared_key* found = nullptr;
        ASSERT_EQ(table->check(name_hash("a"), alike(n), v4, 0, found), verdict::ok);
        keys[n] = found;
    }
    EXPECT_EQ(keys[1], keys[2]);
    EXPECT_EQ(keys[4], keys[5]);
    EXPECT_NE(keys[2], keys[3]);
    EXPECT_NE(keys[3], keys[4]);
    shared_key* found = nullptr;
    EXPECT_EQ(table->check(name_hash("a"), alike(6), v4, 0, found), verdict::unknown);
}

TEST(key_hints, mostly_guess_the_key_and_never_outside_of_its_file)
{
    constexpr size_t keys = 4000;
    constexpr size_t few = key_hints::few_keys;
    key_hints hints;
    EXPECT_EQ(hints.guess(name_hash("a"), digest_of_number(0)), nullptr);
    table_of big({file_of("a", keys), file_of("d", few - 1), file_of("b", few)});
    table_of small({file_of("a", few)});
    for (const auto* table : {&big, &small, &big}) {
        hints.set(**table);
        const key_table::file_info& file = (*table)->files().front();
        size_t right = 0;
        for (uint64_t n = 0; n < 2 * keys; n++) {
            const shared_key* guess = hints.guess(name_hash("a"), digest_of_number(n));
            EXPECT_TRUE(!guess || (guess >= file.keys && guess < file.keys + file.n_keys));
            right += n < file.n_keys && guess == &file.keys[n];
        }
        EXPECT_GE(right, file.n_keys / 2);
        EXPECT_EQ(hints.guess(name_hash("c"), digest_of_number(0)), nullptr);
    }
    EXPECT_NE(hints.guess(name_hash("b"), digest_of_number(0)), nullptr);
    EXPECT_EQ(hints.guess(name_hash("d"), digest_of_number(0)), nullptr) << "of few keys";
}

TEST(key_table, what_is_said_of_its_files_can_be_kept)
{
    std::vector<char> memory;
    std::span<const file_entry> list;
    {
        table_of table({file_of("/etc/a.json", 3), file_of("", 0), file_of(std::string(5000, 'b'), 1)});
        const size_t bytes = file_list_bytes(table->files());
        // One byte more than it asks for, to see that it keeps within.
        memory.assign(bytes + 1, 0x5a);
        list = copy_files(table->files(), memory.data());
    }
    EXPECT_EQ(memory.back(), 0x5a);
    ASSERT_EQ(list.size(), 3u);
    EXPECT_EQ(list[0].path, "/etc/a.json");
    EXPECT_EQ(list[0].keys, 3u);
    EXPECT_EQ(list[1].path, "");
    EXPECT_EQ(list[1].keys, 0u);
    EXPECT_EQ(list[2].path, std::string(5000, 'b'));
    EXPECT_EQ(list[2].keys, 1u);

    table_of none({});
    EXPECT_EQ(file_list_bytes(none->files()), 0u);
}

TEST(key_table, disabled_and_expired_keys_are_told_apart)
{
    key_file file = file_of("a", 2);
    file.keys[0].enabled = false;
    file.keys[1].expires = 1000;
    table_of table({file});
    EXPECT_EQ(table.check("a", 0), verdict::disabled);
    EXPECT_EQ(table.check("a", 1, v4, 999), verdict::ok);
    EXPECT_EQ(table.check("a", 1, v4, 1000), verdict::expired);
}

TEST(key_table, networks)
{
    EXPECT_TRUE(allows({}, v4));
    EXPECT_TRUE(allows({}, {}));
    EXPECT_TRUE(allows({v4_network(10, 0, 0, 0, 8)}, v4));
    EXPECT_TRUE(allows({v4_network(10, 1, 2, 3, 32)}, v4));
    EXPECT_FALSE(allows({v4_network(10, 1, 2, 2, 32)}, v4));
    EXPECT_TRUE(allows({v4_network(10, 1, 2, 2, 31)}, v4));
    EXPECT_FALSE(allows({v4_network(10, 1, 2, 4, 30)}, v4));
    EXPECT_TRUE(allows({v4_network(192, 168, 0, 0, 16), v4_network(10, 0, 0, 0, 8)}, v4));
    EXPECT_TRUE(allows({v4_network(0, 0, 0, 0, 0)}, v4));
    EXPECT_FALSE(allows({v4_network(0, 0, 0, 0, 0)}, {})); // a unix socket

    uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3};
    EXPECT_TRUE(allows({v4_network(10, 0, 0, 0, 8)}, mapped));
    uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, 1};
    network n{{0x20, 0x01, 0x0d, 0xb8}, 32, true};
    EXPECT_TRUE(allows({n}, v6));
    EXPECT_FALSE(allows({v4_network(0, 0, 0, 0, 0)}, v6));
    EXPECT_FALSE(allows({n}, v4));
}

TEST(key_table, glob)
{
    EXPECT_TRUE(glob_match("qwen3-*", "qwen3-8b"));
    EXPECT_TRUE(glob_match("qwen3-*", "qwen3-"));
    EXPECT_FALSE(glob_match("qwen3-*", "qwen3"));
    EXPECT_TRUE(glob_match("*", ""));
    EXPECT_TRUE(glob_match("*/llama-*-b", "meta/llama-3-70-b"));
    EXPECT_FALSE(glob_match("*/llama-*-b", "meta/llama-3-70-c"));
    EXPECT_TRUE(glob_match("a**b", "ab"));
    EXPECT_FALSE(glob_match("", "a"));
    EXPECT_TRUE(glob_match("", ""));
    EXPECT_FALSE(glob_match("gpt", "gpt*"));
}

TEST(key_table, models)
{
    shared_text patterns[] = {{"a-*", 3}, {"b", 1}};
    shared_policy any{{}, nullptr, nullptr, 0, 0};
    EXPECT_TRUE(any.allows_model(""));
    EXPECT_TRUE(any.allows_model("x"));
    EXPECT_TRUE(any.allows_all(std::string_view("x\0y\0", 4)));
    shared_policy some{{}, patterns, nullptr, 2, 0};
    EXPECT_TRUE(some.allows_model("a-1"));
    EXPECT_TRUE(some.allows_model("b"));
    EXPECT_FALSE(some.allows_model("c"));
    EXPECT_FALSE(some.allows_model(""));
    EXPECT_TRUE(some.allows_all(""));
    EXPECT_TRUE(some.allows_all(std::string_view("b\0a-2\0", 6)));
    EXPECT_FALSE(some.allows_all(std::string_view("b\0c\0", 4)));
    EXPECT_FALSE(some.allows_all(std::string_view("c\0b\0", 4)));
    EXPECT_FALSE(some.allows_all(std::string_view("\0", 1)));
}

// "models/NAME" is another spelling of NAME, in a list and in a request.
TEST(key_table, the_long_form_of_a_model)
{
    shared_text patterns[] = {{"a-*", 3}, {"models/b*", 9}, {"tunedModels/c", 13}};
    shared_policy some{{}, patterns, nullptr, 3, 0};
    for (const char* model : {"a-1", "models/a-1", "b", "b2", "models/b2", "tunedModels/c"})
        EXPECT_TRUE(some.allows_model(model)) << model;
    for (const char* model :
         {"models/c", "c", "tunedModels/a-1", "tunedModels/b", "models/models/b", "Models/b"})
        EXPECT_FALSE(some.allows_model(model)) << model;
    shared_text letter[] = {{"m*", 2}};
    shared_policy by_letter{{}, letter, nullptr, 1, 0};
    EXPECT_TRUE(by_letter.allows_model("models/mistral"));
    EXPECT_FALSE(by_letter.allows_model("models/other"));
    shared_text untuned[] = {{"models/*", 8}};
    shared_policy all_untuned{{}, untuned, nullptr, 1, 0};
    EXPECT_TRUE(all_untuned.allows_model("other"));
    EXPECT_FALSE(all_untuned.allows_model("tunedModels/c"));
}
