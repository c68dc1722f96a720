// Changes of key files as text: whatever the formatting, what is not changed stays byte by byte.

#include "ctl/key_fields.h"
#include "ctl/key_text.h"
#include "keys/json_locate.h"
#include "keys/key_file.h"
#include "keys/sha256.h"

#include <gtest/gtest.h>
#include <random>

namespace llm::ctl {
namespace {

digest digest_of(const std::string& text)
{
    digest value;
    EXPECT_TRUE(sha256(text, value));
    return value;
}

std::string hex(const std::string& text)
{
    return to_hex(digest_of(text));
}

key_file parsed(const std::string& text)
{
    key_file file;
    const auto error = parse_key_file(text, file);
    EXPECT_FALSE(error) << error->line << ":" << error->column << ": " << error->text << "\n" << text;
    return file;
}

// A key in a file with a short digest, so that the expected texts can be read.
std::string with_digests(std::string text)
{
    for (const char* name : {"A", "B", "C"}) {
        for (size_t at; (at = text.find(std::string("<") + name + ">")) != std::string::npos;) {
            text.replace(at, 3, hex(name));
        }
    }
    return text;
}

std::string added(const std::string& text, const json_members& more = {})
{
    const std::string from = with_digests(text);
    parsed(from);
    key_text keys(from);
    json_members members = {{"name", "\"c\""}, {"sha256", "\"" + hex("C") + "\""}};
    members.insert(members.end(), more.begin(), more.end());
    keys.add(members);
    EXPECT_EQ(parsed(keys.text()).keys.back().name, "c");
    return keys.text();
}

TEST(key_text, a_new_key_looks_like_the_last_one)
{
    EXPECT_EQ(added(R"({ "keys": [ { "name": "a", "sha256": "<A>" } ] })"),
              with_digests(
                  R"({ "keys": [ { "name": "a", "sha256": "<A>" }, { "name": "c", "sha256": "<C>" } ] })"));
    EXPECT_EQ(added("{\"keys\":[{\"name\":\"a\",\"sha256\":\"<A>\"}]}\n"),
              with_digests(
                  "{\"keys\":[{\"name\":\"a\",\"sha256\":\"<A>\"},{\"name\":\"c\",\"sha256\":\"<C>\"}]}\n"));
    EXPECT_EQ(
        added("{\r\n\t\"keys\" : [\r\n\t\t{ \"name\" : \"a\",\r\n\t\t  \"sha256\" : \"<A>\" }\r\n\t]\r\n}"),
        with_digests("{\r\n\t\"keys\" : [\r\n\t\t{ \"name\" : \"a\",\r\n\t\t  \"sha256\" : \"<A>\" },\r\n"
                     "\t\t{ \"name\" : \"c\", \"sha256\" : \"<C>\" }\r\n\t]\r\n}"));
    EXPECT_EQ(
        added("{\n  \"keys\": [\n    {\n      \"name\": \"a\",\n      \"sha256\": \"<A>\"\n    }\n  ]\n}\n"),
        with_digests("{\n  \"keys\": [\n    {\n      \"name\": \"a\",\n      \"sha256\": \"<A>\"\n    },\n"
                     "    {\n      \"name\": \"c\",\n      \"sha256\": \"<C>\"\n    }\n  ]\n}\n"));
}

TEST(key_text, the_first_key)
{
    EXPECT_EQ(
        added(std::string(key_text::empty_file())),
        with_digests("{\n    \"keys\": [\n        { \"name\": \"c\", \"sha256\": \"<C>\" }\n    ]\n}\n"));
    EXPECT_EQ(added("{\"keys\":[]}"), with_digests("{\"keys\":[{\"name\":\"c\",\"sha256\":\"<C>\"}]}"));
    EXPECT_EQ(added("{\"keys\": [ ], \"plans\": {}}"),
              with_digests("{\"keys\": [{ \"name\": \"c\", \"sha256\": \"<C>\" }], \"plans\": {}}"));
    EXPECT_EQ(
        added("{\r\n\t\"keys\": [\r\n\t]\r\n}\r\n"),
        with_digests("{\r\n\t\"keys\": [\r\n\t\t{ \"name\": \"c\", \"sha256\": \"<C>\" }\r\n\t]\r\n}\r\n"));
}

std::string set(const std::string& text, std::string_view name, std::string_view field,
                std::string_view value)
{
    const std::string from = with_digests(text);
    parsed(from);
    key_text keys(from);
    const auto place = keys.find(name);
    EXPECT_TRUE(place);
    keys.set(place.value_or(0), field, value);
    parsed(keys.text());
    return keys.text();
}

TEST(key_text, fields)
{
    const std::string file =
        R"({"keys": [ { "name": "a", "sha256": "<A>" }, { "n\u0061me": "b" , "sha256": "<B>" , "quota": 5 } ]})";
    EXPECT_EQ(
        set(file, "a", "user", "\"u\""),
        with_digests(
            R"({"keys": [ { "name": "a", "sha256": "<A>", "user": "u" }, { "n\u0061me": "b" , "sha256": "<B>" , "quota": 5 } ]})"));
    EXPECT_EQ(
        set(file, "b", "quota", "\"7/d\""),
        with_digests(
            R"({"keys": [ { "name": "a", "sha256": "<A>" }, { "n\u0061me": "b" , "sha256": "<B>" , "quota": "7/d" } ]})"));
    EXPECT_EQ(
        set(file, "b", "quota", ""),
        with_digests(
            R"({"keys": [ { "name": "a", "sha256": "<A>" }, { "n\u0061me": "b" , "sha256": "<B>" } ]})"));
    EXPECT_EQ(
        set(file, "b", "burst", "5"),
        with_digests(
            R"({"keys": [ { "name": "a", "sha256": "<A>" }, { "n\u0061me": "b" , "sha256": "<B>" , "quota": 5, "limits": { "burst": 5 } } ]})"));
    EXPECT_EQ(
        set(file, "a", "quota", "9"),
        with_digests(
            R"({"keys": [ { "name": "a", "sha256": "<A>", "quota": 9 }, { "n\u0061me": "b" , "sha256": "<B>" , "quota": 5 } ]})"));
    EXPECT_EQ(set(file, "a", "models", ""), with_digests(file));
}

TEST(key_text, limits_go_where_limits_are)
{
    const auto file = [](const char* limits) {
        return std::string(R"({"keys": [ { "name": "a", "sha256": "<A>")") + limits + " } ]}";
    };
    EXPECT_EQ(set(file(R"(, "limits": { "burst": 1 })"), "a", "quota", "9"),
              with_digests(file(R"(, "limits": { "burst": 1, "quota": 9 })")));
    EXPECT_EQ(set(file(R"(, "limits": { "burst": 1 })"), "a", "burst", ""), with_digests(file("")));
    EXPECT_EQ(set(file(R"(, "limits": {})"), "a", "burst", "3"),
              with_digests(file(R"(, "limits": { "burst": 3 })")));
    EXPECT_EQ(set(file(R"(, "quota": 1, "limits": { "burst": 1 })"), "a", "quota", "2"),
              with_digests(file(R"(, "quota": 2, "limits": { "burst": 1 })")));
}

TEST(key_text, a_key_that_is_called_as_its_user_keeps_its_name)
{
    const std::string file =
        R"({"keys": [{"key": "sk-plain", "user": "user1", "quota": 10000, "enabled": true}]})";
    EXPECT_EQ(parsed(set(file, "user1", "user", "\"other\"")).keys[0].name, "user1");
    EXPECT_EQ(parsed(set(file, "user1", "user", "\"other\"")).keys[0].user, "other");
    EXPECT_EQ(parsed(set(file, "user1", "user", "")).keys[0].user, "");
}

TEST(key_text, rotation)
{
    const auto rotated = [](const std::string& text, bool keep_old) {
        const std::string from = with_digests(text);
        key_text keys(from);
        keys.rotate(0, digest_of("C"), parsed(from).keys[0].digests, keep_old);
        parsed(keys.text());
        return keys.text();
    };
    EXPECT_EQ(rotated(R"({"keys": [{"name": "a", "sha256": "<A>"}]})", false),
              with_digests(R"({"keys": [{"name": "a", "sha256": "<C>"}]})"));
    EXPECT_EQ(rotated(R"({"keys": [{"name": "a", "sha256": "<A>"}]})", true),
              with_digests(R"({"keys": [{"name": "a", "sha256": ["<A>", "<C>"]}]})"));
    EXPECT_EQ(rotated(R"({"keys": [{"name": "a", "sha256": ["<A>", "<B>"]}]})", true),
              with_digests(R"({"keys": [{"name": "a", "sha256": ["<A>", "<B>", "<C>"]}]})"));
    EXPECT_EQ(rotated(R"({"keys": [{"key": "A", "user": "a"}]})", false),
              with_digests(R"({"keys": [{"sha256": "<C>", "user": "a"}]})"));
    EXPECT_EQ(rotated(R"({"keys": [{"key": "A", "user": "a"}]})", true),
              with_digests(R"({"keys": [{"sha256": ["<A>", "<C>"], "user": "a"}]})"));
    EXPECT_EQ(rotated(R"({"keys": [{"key": "A", "user": "a", "sha256": "<B>"}]})", true),
              with_digests(R"({"keys": [{"user": "a", "sha256": ["<B>", "<A>", "<C>"]}]})"));
}

TEST(key_text, removal)
{
    const auto removed = [](const std::string& text, std::string_view name) {
        key_text keys(with_digests(text));
        keys.remove(keys.find(name).value_or(99));
        parsed(keys.text());
        return keys.text();
    };
    const std::string file = "{\"keys\": [\n  {\"name\": \"a\", \"sha256\": \"<A>\"},\n  {\"name\": \"b\", "
                             "\"sha256\": \"<B>\"}\n]}";
    EXPECT_EQ(removed(file, "a"), with_digests("{\"keys\": [\n  {\"name\": \"b\", \"sha256\": \"<B>\"}\n]}"));
    EXPECT_EQ(removed(file, "b"), with_digests("{\"keys\": [\n  {\"name\": \"a\", \"sha256\": \"<A>\"}\n]}"));
    EXPECT_EQ(removed("{\"keys\": [\n  {\"name\": \"a\", \"sha256\": \"<A>\"}\n]}", "a"), "{\"keys\": [\n]}");
}

TEST(key_fields, values)
{
    const auto json = [](const char* field, std::string_view text) {
        return field_json(*find_key_field(field), text, 1767225600, {}).value_or("-");
    };
    EXPECT_EQ(json("models", "a, b*,\"c"), R"(["a", "b*", "\"c"])");
    EXPECT_EQ(json("models", "a,,b"), "-");
    EXPECT_EQ(json("quota", "10m/mo"), "\"10m/mo\"");
    EXPECT_EQ(json("quota", "10000"), "10000");
    EXPECT_EQ(json("burst", "007"), "\"007\"");
    EXPECT_EQ(json("burst", "0"), "0");
    EXPECT_EQ(json("expires", "2027-01-01"), "\"2027-01-01T00:00:00Z\"");
    EXPECT_EQ(json("expires", "2d"), "\"2026-01-03T00:00:00Z\"");
    EXPECT_EQ(json("expires", "d"), "\"d\"");
    EXPECT_EQ(json("admin", "yes"), "true");
    EXPECT_EQ(json("admin", "1"), "-");
    EXPECT_EQ(json("user", "\xc3\xa4"), "\"\xc3\xa4\"");
}

// --- any file, any change

class random_files {
public:
    explicit random_files(unsigned seed) : random(seed) {}

    size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); }
    std::string space()
    {
        static constexpr const char* spaces[] = {"",     "",       " ",      " ",  "  ",     "\n",
                                                 "\r\n", "\n    ", "\r\n\t", "\t", " \n  \n"};
        return spaces[below(std::size(spaces))];
    }
    std::string text(const std::string& value)
    {
        std::string result = "\"";
        for (const char c : value) {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
            result += below(9) == 0 ? std::string(escaped) : std::string(1, c);
        }
        return result + '"';
    }
    std::string members(std::vector<std::pair<std::string, std::string>> all)
    {
        std::shuffle(all.begin(), all.end(), random);
        std::string result = "{" + space();
        for (size_t i = 0; i < all.size(); i++) {
            result += i == 0 ? "" : space() + "," + space();
            result += text(all[i].first) + space() + ":" + space() + all[i].second;
        }
        return result + space() + "}";
    }
    std::string record(size_t i)
    {
        const std::string name = "k" + std::to_string(i);
        std::vector<std::pair<std::string, std::string>> all;
        const bool has_name = below(4) != 0;
        all.emplace_back(has_name ? "name" : "user", text(name));
        if (has_name && below(2)) {
            all.emplace_back("user", text("u{[\\\"]},"[below(2) ? 0 : 1] == '{' ? "u, }" : "v"));
        }
        switch (below(3)) {
        case 0:
            all.emplace_back("key", text("sk-" + name));
            break;
        case 1:
            all.emplace_back("sha256", '"' + hex(name) + '"');
            break;
        default:
            all.emplace_back("sha256", "[" + space() + '"' + hex(name) + "\"" + space() + "," + space() + '"'
                                           + hex(name + "x") + "\"" + space() + "]");
        }
        const size_t quota = below(3);
        if (quota == 1) {
            all.emplace_back("quota", "10000");
        }
        if (below(2)) {
            std::vector<std::pair<std::string, std::string>> limits;
            if (below(2)) {
                limits.emplace_back("concurrency", "64");
            }
            if (quota == 2) {
                limits.emplace_back("quota", text("10m/mo"));
            }
            all.emplace_back("limits", members(limits));
        }
        if (below(3) == 0) {
            all.emplace_back("models", "[" + text("a]*") + "," + space() + text("b, }") + "]");
        }
        if (below(3) == 0) {
            all.emplace_back("enabled", below(2) ? "true" : "false");
        }
        return members(all);
    }

    std::mt19937 random;
};

TEST(key_text, random_files_and_changes)
{
    for (unsigned seed = 1; seed <= 3000; seed++) {
        random_files make(seed);
        const size_t count = make.below(5);
        std::vector<std::string> records;
        std::string list = "[" + make.space();
        const size_t list_head = list.size();
        for (size_t i = 0; i < count; i++) {
            records.push_back(make.record(i));
            list += (i == 0 ? "" : make.space() + "," + make.space()) + records.back();
        }
        list += make.space() + "]";
        const std::string head =
            make.space() + "{" + make.space()
            + (make.below(2) ? "\"plans\": { \"p\": {\"burst\": 3} }" + make.space() + "," : "")
            + make.space() + make.text("keys") + make.space() + ":" + make.space();
        const std::string tail = make.space() + "}" + make.space();
        const std::string before = head + list + tail;
        const key_file was = parsed(before);
        (void)list_head;

        key_text keys(before);
        const size_t which = count == 0 ? 0 : make.below(count);
        const size_t what = count == 0 ? 0 : make.below(5);
        SCOPED_TRACE("seed " + std::to_string(seed) + ", change " + std::to_string(what) + "\n" + before);
        if (what == 0) {
            keys.add(
                {{"name", "\"new\""}, {"sha256", '"' + hex("new") + '"'}, {"limits", "{ \"burst\": 2 }"}});
        } else if (what == 1) {
            keys.remove(which);
        } else if (what == 2) {
            keys.rotate(which, digest_of("new"), was.keys[which].digests, make.below(2));
        } else {
            static constexpr std::pair<const char*, const char*> settings[] = {
                {"quota", "77"},   {"quota", ""}, {"concurrency", "7"},  {"concurrency", ""},
                {"user", "\"w\""}, {"user", ""},  {"models", "[\"z\"]"}, {"enabled", "false"},
                {"enabled", ""},   {"plan", ""}};
            const auto& [field, value] = settings[make.below(std::size(settings))];
            keys.set(which, field, value);
        }
        const key_file now = parsed(keys.text());
        // The head and the tail of the file, and all other records, are as they were.
        ASSERT_EQ(keys.text().substr(0, head.size()), head);
        ASSERT_TRUE(keys.text().ends_with("]" + tail));
        std::vector<std::string> left;
        for (const json_child& each : json_children(keys.text(), head.size())) {
            left.push_back(keys.text().substr(each.value, each.end - each.value));
        }
        ASSERT_EQ(left.size(), count + (what == 0) - (what == 1));
        for (size_t i = 0; i < count; i++) {
            if (what == 0 || i < which) {
                ASSERT_EQ(left[i], records[i]);
            } else if (i > which) {
                ASSERT_EQ(left[what == 1 ? i - 1 : i], records[i]);
            }
        }
        // The record is as wanted.
        if (what == 0) {
            ASSERT_EQ(now.keys.back().name, "new");
            ASSERT_EQ(now.policies[now.keys.back().policy].limit.burst, 2);
        } else if (what == 2) {
            ASSERT_EQ(now.keys[which].digests.back(), digest_of("new"));
        } else if (what > 2) {
            ASSERT_EQ(now.keys[which].name, was.keys[which].name);
            ASSERT_EQ(now.keys[which].digests, was.keys[which].digests);
        }
        if (testing::Test::HasFailure()) {
            return;
        }
    }
}

} // namespace
} // namespace llm::ctl
