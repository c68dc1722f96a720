#include "keys/file_look.h"
#include "keys/key_file.h"

#include "core/request/policy_text.h"

#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace llm {
namespace {

const std::string hex_a(64, 'a');
const std::string hex_b(64, 'b');
const std::string hex_c(64, 'c');

key_file good(std::string_view text)
{
    key_file file;
    const auto error = parse_key_file(text, file);
    EXPECT_FALSE(error) << text << '\n' << error->line << ':' << error->column << ": " << error->text;
    if (error) {
        file.keys.resize(8);
        file.policies.resize(8);
    }
    return file;
}

// "line:column: text"; empty if the text is accepted. An error must leave what was there alone.
std::string bad(std::string_view text)
{
    key_file file;
    file.path = "before";
    file.keys.resize(3);
    const auto error = parse_key_file(text, file);
    EXPECT_EQ(file.path, "before");
    if (!error) {
        return {};
    }
    EXPECT_EQ(file.keys.size(), 3u);
    EXPECT_LE(error->text.size(), 300u);
    for (const char c : error->text) {
        EXPECT_TRUE(c >= 0x20 && c < 0x7f) << error->text;
    }
    return std::to_string(error->line) + ':' + std::to_string(error->column) + ": " + error->text;
}

std::string with_keys(const std::string& keys)
{
    return "{\"keys\":[" + keys + "]}";
}

// The error of one key that has, besides a name and a digest, these fields; columns count from them.
std::string bad_field(const std::string& fields)
{
    return bad("{\"keys\":[{\"name\":\"n\",\"sha256\":\"" + hex_a + "\",\n" + fields + "}]}");
}

std::string bad_plan(const std::string& plan)
{
    return bad("{\"keys\":[],\"plans\":{\"p\":\n" + plan + "}}");
}

TEST(key_file, the_documented_example)
{
    const key_file file = good(R"({
  "plans": {
    "pro": { "requests": "10r/s", "burst": 20, "concurrency": 5, "tokens": "100k/m", "quota": "10m/mo",
             "models": ["qwen3-*"], "request": { "cap": { "max_tokens": 4096 } } }
  },
  "keys": [
    { "name": "alice-laptop", "user": "alice", "sha256": ")"
                               + hex_a + R"(", "plan": "pro" },
    { "name": "batch", "user": "bob", "sha256": [")"
                               + hex_b + R"(", ")" + hex_c + R"("], "expires": "2027-01-01T00:00:00Z",
      "networks": ["10.0.0.0/8"], "limits": { "concurrency": 64 } },
    { "key": "sk-your-api-key-here", "user": "user1", "quota": 10000, "enabled": true }
  ]
})");
    ASSERT_EQ(file.keys.size(), 3u);
    ASSERT_EQ(file.policies.size(), 4u);
    EXPECT_FALSE(file.policies[0].limit.any());

    const key_record& alice = file.keys[0];
    EXPECT_EQ(alice.name, "alice-laptop");
    EXPECT_EQ(alice.user, "alice");
    EXPECT_EQ(alice.digests.size(), 1u);
    EXPECT_EQ(alice.expires, 0);
    EXPECT_TRUE(alice.enabled);
    const key_policy& pro = file.policies[alice.policy];
    EXPECT_EQ(pro.limit.requests.amount, 10u);
    EXPECT_EQ(pro.limit.requests.period_ms, 1000u);
    EXPECT_EQ(pro.limit.burst, 20);
    EXPECT_EQ(pro.limit.concurrency, 5);
    EXPECT_EQ(pro.limit.tokens.amount, 100000u);
    EXPECT_EQ(pro.limit.token_burst, -1);
    EXPECT_EQ(pro.limit.quota, 10000000u);
    EXPECT_EQ(pro.limit.window, quota_window::month);
    EXPECT_EQ(pro.models, std::vector<std::string>{"qwen3-*"});

    const key_record& batch = file.keys[1];
    EXPECT_EQ(batch.digests.size(), 2u);
    EXPECT_EQ(batch.digests[1][0], 0xcc);
    EXPECT_EQ(batch.expires, 1798761600);
    EXPECT_EQ(file.policies[batch.policy].limit.concurrency, 64);
    ASSERT_EQ(file.policies[batch.policy].networks.size(), 1u);
    EXPECT_EQ(file.policies[batch.policy].networks[0].prefix, 8);

    const key_record& plain = file.keys[2];
    EXPECT_EQ(plain.name, "user1");
    EXPECT_EQ(plain.user, "user1");
    digest expected;
    ASSERT_TRUE(sha256("sk-your-api-key-here", expected));
    EXPECT_EQ(plain.digests, std::vector<digest>{expected});
    EXPECT_EQ(file.policies[plain.policy].limit.quota, 10000u);
    EXPECT_EQ(file.policies[plain.policy].limit.window, quota_window::total);
}

TEST(key_file, limits_of_the_key_go_over_its_plan)
{
    // Plans may stand behind the keys.
    const key_file file = good(R"({"keys":[
      {"name":"a","key":"1","plan":"p"},
      {"name":"b","key":"2","plan":"p","limits":{"burst":0,"quota":"5/d"},"models":["m2"]},
      {"name":"c","key":"3","plan":"p","networks":["::1"],"limits":{"requests":"2r/h","token_burst":"2k","concurrency":"1k"}},
      {"name":"d","key":"4","plan":"p","quota":7},
      {"name":"e","key":"5"}
     ],"plans":{"p":{"requests":"10r/s","burst":20,"tokens":"1k/m","quota":"10m/mo","models":["m1"],"networks":["10.0.0.0/8"]}}})");
    const auto of = [&file](size_t key) { return file.policies[file.keys[key].policy]; };
    EXPECT_EQ(of(1).limit.requests.amount, 10u);
    EXPECT_EQ(of(1).limit.burst, 0);
    EXPECT_EQ(of(1).limit.tokens.amount, 1000u);
    EXPECT_EQ(of(1).limit.quota, 5u);
    EXPECT_EQ(of(1).limit.window, quota_window::day);
    EXPECT_EQ(of(1).models, std::vector<std::string>{"m2"});
    EXPECT_EQ(of(1).networks, of(0).networks);
    EXPECT_EQ(of(2).limit.requests.amount, 2u);
    EXPECT_EQ(of(2).limit.requests.period_ms, 3600000u);
    EXPECT_EQ(of(2).limit.burst, 20);
    EXPECT_EQ(of(2).limit.token_burst, 2000);
    EXPECT_EQ(of(2).limit.concurrency, 1000);
    EXPECT_EQ(of(2).models, std::vector<std::string>{"m1"});
    ASSERT_EQ(of(2).networks.size(), 1u);
    EXPECT_TRUE(of(2).networks[0].v6);
    EXPECT_EQ(of(3).limit.quota, 7u);
    EXPECT_EQ(of(3).limit.window, quota_window::total);
    EXPECT_EQ(file.keys[4].policy, 0u);
    EXPECT_EQ(file.policies.size(), 5u);
    for (size_t key = 0; key < 5; key++) {
        EXPECT_EQ(of(key).plan, key == 4 ? "" : "p") << key;
    }
}

TEST(key_file, same_policies_are_one)
{
    const key_file file = good(R"({"plans":{"p":{"burst":1},"q":{"burst":1},"empty":{}},"keys":[
      {"name":"a","key":"1","plan":"p"},
      {"name":"b","key":"2","plan":"q"},
      {"name":"c","key":"3","limits":{"burst":1}},
      {"name":"d","key":"4","plan":"p","limits":{"burst":1}},
      {"name":"e","key":"5","plan":"empty"},
      {"name":"f","key":"6","plan":"p","limits":{}},
      {"name":"g","key":"7","models":["x","y"]},
      {"name":"h","key":"8","models":["xy"]}]})");
    // None, p, q, empty, c's, g's and h's: plans of other names are others.
    ASSERT_EQ(file.policies.size(), 7u);
    for (const size_t key : {3, 5}) {
        EXPECT_EQ(file.keys[key].policy, file.keys[0].policy) << key;
    }
    for (const size_t key : {1, 2, 4}) {
        EXPECT_NE(file.keys[key].policy, file.keys[0].policy) << key;
    }
    EXPECT_NE(file.keys[6].policy, file.keys[7].policy);
}

TEST(key_file, syntax_errors)
{
    EXPECT_EQ(bad(""), "1:1: unexpected end of file");
    EXPECT_EQ(bad(" \n"), "2:1: unexpected end of file");
    EXPECT_EQ(bad("[]"), "1:1: expected an object with \"keys\"");
    EXPECT_EQ(bad("\xef\xbb\xbf{}"),
              "1:1: the file starts with a byte order mark, expected UTF-8 without one");
    EXPECT_EQ(bad("{}"), "1:1: \"keys\" is missing, expected an array of keys");
    EXPECT_EQ(bad("{\"keys\":[]"), "1:11: unexpected end of file");
    EXPECT_EQ(bad("{\"keys\":[],}"), "1:12: expected the name of a field");
    EXPECT_EQ(bad("{\"keys\":[] \"x\"}"), "1:12: expected \",\" or \"}\"");
    EXPECT_EQ(bad("{\"keys\" []}"), "1:9: expected \":\"");
    EXPECT_EQ(bad("{\"keys\":[]} x"), "1:13: expected the end of the file after the object");
    EXPECT_EQ(bad(std::string("{\"keys\":[]}\0", 12)), "1:12: expected the end of the file after the object");
    EXPECT_EQ(bad("{\"keys\":{}}"), "1:9: \"keys\": expected an array");
    EXPECT_EQ(bad("{\"keys\":[],\n \"keys\":[]}"), "2:2: this field is given twice");
    EXPECT_EQ(bad("{\"key\":[]}"), "1:2: unknown field \"key\", expected plans or keys");
    EXPECT_EQ(bad("{\"keys\":[],\"plans\":[]}"), "1:20: expected an object of plans, got an empty array");
    EXPECT_EQ(bad("{\"keys\":[1]}"), "1:10: keys[0]: expected an object, got 1");
    EXPECT_EQ(bad("{\"keys\":[\n {},]}"), "2:2: keys[0]: has neither \"name\" nor \"user\"");
    EXPECT_EQ(bad("{\"plans\":{},\"keys\":[,]}").substr(0, 6), "1:21: ");
    EXPECT_EQ(bad("{\"keys\":[ ").substr(0, 6), "1:11: ");
    EXPECT_EQ(bad("{\"keys\":[{\"name\":\"a\",\n\"name\":\"b\"}]}").substr(0, 2), "2:");
    EXPECT_NE(bad("{\"keys\":[{\"name\":\"a\",\n\"n\\u0061me\":\"b\"}]}").find("twice"), std::string::npos);
    EXPECT_NE(bad("{\"plans\":{\"p\":{},\"p\":{}},\"keys\":[]}").find("twice"), std::string::npos);
    EXPECT_NE(bad(with_keys("{\"name\":\"a\\u0000\"}")).find("NUL"), std::string::npos);
    EXPECT_NE(bad(with_keys("{\"name\":\"\xff\"}")).find("invalid UTF-8"), std::string::npos);
    EXPECT_NE(bad(with_keys("{\"quota\":9223372036854775808}")).find("too large"), std::string::npos);
    EXPECT_NE(bad(with_keys(std::string(100000, '['))).find("nested"), std::string::npos);
    EXPECT_NE(bad(with_keys("{\"name\":\"\\ud800\"}")).find("invalid Unicode escape"), std::string::npos);
}

TEST(key_file, errors_name_the_place)
{
    EXPECT_EQ(
        bad("{\"keys\":[\n{\"name\":\"alice\",\"key\":\"kk\",\n  \"limits\": {\"tokens\" :\n \"100k/x\"}}]}"),
        "4:2: \"limits.tokens\" of key \"alice\": expected a rate such as \"100k/m\", got \"100k/x\"");
    EXPECT_EQ(
        bad("{\"keys\":[{\"user\":\"u\",\"key\":\"k1\"},{\"user\":\"bob\",\n\"key\":\"k2\", \"enable\": "
            "false}]}"),
        "2:13: key \"bob\": unknown field \"enable\", expected name, user, sha256, key, plan, expires, "
        "networks, models, request, limits, quota, enabled, admin or user_from");
    EXPECT_EQ(bad_plan("{\"burst\":1,\"request\":\n{\"cap\":{\"a\":1,\"b\":\"2\"}}}"),
              "3:19: \"request.cap.b\" of plan \"p\": expected a number, got \"2\"");
    EXPECT_EQ(bad_plan("{\"limits\":{}}"),
              "2:2: plan \"p\": unknown field \"limits\", expected requests, burst, concurrency, tokens, "
              "token_burst, quota, models, request or networks");
    EXPECT_EQ(bad("{\"keys\":[],\"plans\":{\"\":{}}}"),
              "1:21: the name of a plan has 1 to 80 bytes and no control characters");
    EXPECT_EQ(bad_plan("[]"), "2:1: plan \"p\": expected an object, got an empty array");
}

TEST(key_file, wrong_fields)
{
    const std::string of = " of key \"n\": ";
    EXPECT_EQ(bad_field("\"enabled\":\"false\""),
              "2:11: \"enabled\"" + of + "expected true or false, got \"false\"");
    EXPECT_EQ(bad_field("\"enabled\":0"), "2:11: \"enabled\"" + of + "expected true or false, got 0");
    EXPECT_EQ(bad_field("\"admin\":1"), "2:9: \"admin\"" + of + "expected true or false, got 1");
    EXPECT_EQ(bad_field("\"enabled\":null"), "2:11: \"enabled\"" + of + "expected true or false, got null");
    EXPECT_EQ(bad_field("\"expires\":1798761600"),
              "2:11: \"expires\"" + of + "expected a time such as \"2027-01-01T00:00:00Z\", got 1798761600");
    EXPECT_EQ(bad_field("\"plan\":\"gold\""), "2:8: \"plan\"" + of + "there is no plan \"gold\"");
    EXPECT_EQ(bad_field("\"plan\":null"), "2:8: \"plan\"" + of + "expected the name of a plan, got null");
    EXPECT_EQ(bad_field("\"networks\":[\"::1\",\"10.0.0.1/8\"]"),
              "2:19: \"networks[1]\"" + of
                  + "\"10.0.0.1/8\" has bits beyond its prefix, expected \"10.0.0.0/8\"");
    EXPECT_EQ(bad_field("\"networks\":[8]"),
              "2:13: \"networks[0]\"" + of + "expected an address or a range such as \"10.0.0.0/8\", got 8");
    EXPECT_EQ(bad_field("\"networks\":[]"),
              "2:12: \"networks\"" + of
                  + "expected an array of 1 to 256 addresses or ranges, got an empty array");
    EXPECT_EQ(bad_field("\"models\":\"m\""),
              "2:10: \"models\"" + of + "expected an array of 1 to 256 names of models, got \"m\"");
    EXPECT_EQ(bad_field("\"models\":[\"a\",\"\"]"),
              "2:15: \"models[1]\"" + of + "expected 1 to 256 bytes without control characters, got \"\"");
    EXPECT_EQ(bad_field("\"limits\":[]"), "2:10: \"limits\"" + of + "expected an object, got an empty array");
    EXPECT_EQ(bad_field("\"limits\":{\"models\":[]}").substr(0, 50),
              ("2:11: \"limits\"" + of + "unknown field \"models\", expected").substr(0, 50));
    EXPECT_EQ(bad_field("\"limits\":{\"requests\":\"10/s\"}"),
              "2:22: \"limits.requests\"" + of + "expected a rate such as \"10r/s\", got \"10/s\"");
    EXPECT_EQ(bad_field("\"limits\":{\"concurrency\":0}"),
              "2:25: \"limits.concurrency\"" + of + "expected a whole number of at least 1, got 0");
    EXPECT_EQ(bad_field("\"limits\":{\"burst\":-1}"),
              "2:19: \"limits.burst\"" + of + "expected a whole number of at least 0, got -1");
    EXPECT_EQ(bad_field("\"limits\":{\"burst\":1.5}"),
              "2:19: \"limits.burst\"" + of + "expected a whole number of at least 0, got 1.5");
    for (const char* none : {"0", "\"0\"", "\"0k\"", "-1"}) {
        EXPECT_EQ(bad_field(std::string("\"limits\":{\"tokens\":\"1k/m\",\"token_burst\":") + none + '}')
                      .substr(0, 76),
                  ("2:41: \"limits.token_burst\"" + of + "expected a whole number of at least 1, got ")
                      .substr(0, 76))
            << none;
    }
    EXPECT_EQ(bad_field("\"quota\":1,\"limits\":{\"quota\":1}"),
              "2:9: \"quota\"" + of + "is given here and in \"limits\", expected one of both");
    for (const char* quota :
         {"0", "-1", "1.0", "1e3", "true", "\"10m\"", "\"10m/m\"", "\"9223372036854775808/d\"", "null"}) {
        EXPECT_TRUE(bad_field(std::string("\"quota\":") + quota)
                        .starts_with("2:9: \"quota\"" + of
                                     + "expected a number of tokens of at least 1, or a quota such as "))
            << quota;
    }
    EXPECT_EQ(bad_field("\"key\":\"a b\""),
              "2:7: \"key\"" + of + "expected a string of 1 to 512 visible ASCII characters without spaces");
    for (const std::string& key :
         {std::string("\"\""), std::string("5"), '"' + std::string(513, 'x') + '"',
          std::string("\"k\\u00e4\""), std::string("\"\\u007f\""), std::string("[\"k\"]")}) {
        EXPECT_EQ(bad_field("\"key\":" + key).substr(0, 10), "2:7: \"key\"") << key;
    }
    EXPECT_EQ(bad_field("\"key\":\"" + std::string(512, 'x') + '"'), "");
}

TEST(key_file, bounds)
{
    const auto list = [](size_t count, const char* item) {
        std::string text = "[";
        for (size_t i = 0; i < count; i++) {
            text += (i ? "," : "") + std::string(item);
        }
        return text + ']';
    };
    EXPECT_EQ(bad_field("\"models\":" + list(256, "\"m\"")), "");
    EXPECT_NE(bad_field("\"models\":" + list(257, "\"m\"")), "");
    EXPECT_EQ(bad_field("\"networks\":" + list(256, "\"::1\"")), "");
    EXPECT_NE(bad_field("\"networks\":" + list(257, "\"::1\"")), "");
    EXPECT_EQ(bad_field("\"models\":[\"" + std::string(256, 'm') + "\"]"), "");
    EXPECT_NE(bad_field("\"models\":[\"" + std::string(257, 'm') + "\"]"), "");
    EXPECT_EQ(bad_field("\"quota\":9223372036854775807"), "");
    EXPECT_EQ(bad_field("\"user\":\"" + std::string(80, 'u') + "\""), "");
    EXPECT_EQ(bad_field("\"user\":\"" + std::string(81, 'u') + "\""),
              "2:8: \"user\" of key \"n\": expected 1 to 80 bytes without control characters");
    for (const char* name : {"", "a\\n", "a\\u007f", "\\u0085"}) {
        EXPECT_NE(bad(with_keys(std::string("{\"key\":\"k\",\"name\":\"") + name + "\"}")), "") << name;
    }
    EXPECT_EQ(bad(with_keys("{\"key\":\"k\",\"name\":\"\xc3\xa4 \\u00a0\xe5\x85\xac\"}")), "");
}

TEST(key_file, expired_in_1970_is_not_never)
{
    const key_file file = good(with_keys(R"({"name":"a","key":"k","expires":"1970-01-01T00:00:00Z"})"));
    EXPECT_LT(file.keys[0].expires, 0);
}

TEST(key_file, keys_without_a_secret_are_found_by_their_names)
{
    key_file file =
        good(with_keys(R"({"name":"a"},{"user":"b"},{"name":"c","key":"sk-cccccccccccccccccccc"})"));
    EXPECT_TRUE(file.keys[0].digests.empty());
    EXPECT_EQ(file.notes.without_secret, 2u);
    key_file by_key = file;
    const auto error = finish_keys(by_key, false);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->line, 1u);
    EXPECT_EQ(error->column, 10u);
    EXPECT_FALSE(finish_keys(file, true));
    ASSERT_EQ(file.keys[0].digests.size(), 1u);
    ASSERT_EQ(file.keys[2].digests.size(), 2u);
    digest named{}, secret{};
    for (const auto& [name, key] : {std::pair("a", 0), std::pair("b", 1), std::pair("c", 2)}) {
        ASSERT_TRUE(name_digest(name, named));
        EXPECT_EQ(file.keys[static_cast<size_t>(key)].digests.back(), named);
        // It is not what a client has who sends the name as its key.
        ASSERT_TRUE(sha256(name, secret));
        EXPECT_NE(named, secret);
    }
}

TEST(key_file, names_that_no_key_can_have_find_none)
{
    digest longest{}, longer{}, none{};
    ASSERT_TRUE(name_digest(std::string(max_name, 'x'), longest));
    ASSERT_TRUE(name_digest(std::string(max_name + 1, 'x'), longer));
    ASSERT_TRUE(name_digest("", none));
    EXPECT_NE(longest, longer);
    EXPECT_EQ(longer, none);
}

TEST(key_file, digests)
{
    EXPECT_EQ(
        bad(with_keys(R"({"name":"a","sha256":[]})")),
        "1:31: \"sha256\" of key \"a\": expected 64 hex digits or an array of such, got an empty array");
    EXPECT_EQ(bad(with_keys(R"({"name":"a","sha256":null})")),
              "1:31: \"sha256\" of key \"a\": expected 64 hex digits, got null");
    // A key pasted here is not shown.
    EXPECT_EQ(bad(with_keys(R"({"name":"a","sha256":["sk-secret"]})")),
              "1:32: \"sha256[0]\" of key \"a\": expected 64 hex digits, got a string of 9 other bytes");
    const key_file both =
        good(with_keys("{\"name\":\"a\",\"key\":\"k\",\"sha256\":[\"" + hex_a + "\",\"" + hex_b + "\"]}"));
    EXPECT_EQ(both.keys[0].digests.size(), 3u);
}

TEST(key_file, duplicates)
{
    std::string upper = hex_a;
    for (char& c : upper) {
        c = 'A';
    }
    EXPECT_EQ(bad(with_keys("{\"name\":\"a\",\"sha256\":\"" + hex_a + "\"},\n{\"name\":\"b\",\"sha256\":\""
                            + upper + "\"}")),
              "2:22: \"sha256\" of key \"b\": is also a key of \"a\"");
    EXPECT_EQ(bad(with_keys("{\"name\":\"a\",\n\"sha256\":[\"" + hex_a + "\",\n\"" + upper + "\"]}")),
              "3:1: \"sha256[1]\" of key \"a\": is given twice for this key");
    digest value;
    ASSERT_TRUE(sha256("kk", value));
    EXPECT_EQ(bad(with_keys("{\"name\":\"a\",\"sha256\":\"" + to_hex(value) + "\",\n\"key\":\"kk\"}")),
              "2:7: \"key\" of key \"a\": is given twice for this key");
    EXPECT_EQ(bad(with_keys("{\"name\":\"a\",\"key\":\"k1\"},\n{\"name\":\"a\",\"key\":\"k2\"}")),
              "2:9: \"name\" of key \"a\": keys[0] has this name already");
    EXPECT_EQ(bad(with_keys("{\"name\":\"u\",\"key\":\"k1\"},\n{\"user\":\"u\",\"key\":\"k2\"}")),
              "2:9: \"user\" of key \"u\": keys[0] has this name already; a key without \"name\" is named "
              "after its user");
    EXPECT_EQ(
        bad(with_keys(
            "{\"name\":\"a\",\"user\":\"u\",\"key\":\"k1\"},{\"name\":\"b\",\"user\":\"u\",\"key\":\"k2\"}")),
        "");
}

TEST(key_file, secrets_stay_out_of_errors)
{
    const std::string secret = "sk-very-secret";
    for (const std::string& text : {
             with_keys("{\"key\":\"" + secret),
             with_keys("{\"key\":\"" + secret + "\n\"}"),
             with_keys("{\"key\":" + secret + "}"),
             with_keys("{\"key\":\"" + secret + "\" \"name\":1}"),
             with_keys("{\"name\":\"n\",\"key\":\"x\",\"" + secret + "\":1}"),
             with_keys("{\"name\":\"n\",\"key\":\"" + secret + " \"}"),
             with_keys("{\"name\":\"n\",\"key\":[\"" + secret + "\"]}"),
             with_keys("{\"name\":\"n\",\"sha256\":\"" + secret + "\"}"),
             with_keys("{\"name\":\"" + secret + "\",\"key\":\"" + secret + "\"}"),
             with_keys("{\"name\":\"for " + secret + "\",\"key\":\"" + secret + "\",\"plan\":\"" + secret
                       + "\"}"),
             with_keys("{\"name\":\"n\",\"key\":\"" + secret + "\",\"quota\":\"" + secret + "\"}"),
             with_keys("{\"name\":\"n\",\"key\":\"" + secret + "\"},{\"name\":\"m\",\"key\":\"" + secret
                       + "\"}"),
             with_keys("{\"key\":\"\\uZZZZ" + secret + "\"}"),
             "{\"keys\":{\"" + secret + "\":{}}}",
             "{\"" + secret + "\":{}}",
         }) {
        const std::string error = bad(text);
        EXPECT_NE(error, "") << text;
        EXPECT_EQ(error.find("very"), std::string::npos) << error;
    }
    EXPECT_EQ(bad(with_keys("{\"user\":\"kk\",\"key\":\"kk\"}")),
              "1:18: \"user\" of keys[0]: is the same as \"key\": names are shown in logs");
}

TEST(key_file, errors_are_one_bounded_line)
{
    const std::string odd = "\\n\\u001b[31m\\u202e\\\"";
    for (const std::string& text :
         {bad_field("\"plan\":\"" + odd + std::string(1000, 'x') + "\""), bad_field("\"" + odd + "\":1"),
          bad_field("\"networks\":[\"" + odd + "\"]"),
          bad_plan("{\"request\":{\"cap\":{\"" + std::string(5000, 'y') + "\":\"\"}}}"),
          bad("{\"keys\":[],\"plans\":{\"" + std::string(80, '\x01') + "\":{}}}")}) {
        EXPECT_NE(text, "");
    }
    EXPECT_EQ(bad_field("\"plan\":\"a\\nb\\u00e4\\\"\""),
              "2:8: \"plan\" of key \"n\": there is no plan \"a\\x0ab\\xc3\\xa4\\\"\"");
}

TEST(key_file, request_policies)
{
    good(R"({"plans":{"p":{"request":{"allow":["a"],"drop":["b"],"cap":{"n":1,"t":0.5},"default":{"x":[1]},
             "set":{"y":null}}}},"keys":[]})");
    EXPECT_EQ(bad_plan("{\"request\":{\"allow\":{}}}"),
              "2:21: \"request.allow\" of plan \"p\": expected an array of names of fields, got an object");
    EXPECT_EQ(bad_plan("{\"request\":{\"allow\":[]}}"),
              "2:21: \"request.allow\" of plan \"p\": expected an array of 1 or more names of fields, got an "
              "empty array");
    EXPECT_EQ(bad_plan("{\"request\":{\"drop\":[\"a\",1]}}"),
              "2:25: \"request.drop[1]\" of plan \"p\": expected the name of a field, got 1");
    EXPECT_EQ(bad_plan("{\"request\":{\"set\":[]}}"),
              "2:19: \"request.set\" of plan \"p\": expected an object, got an empty array");
    EXPECT_EQ(
        bad_plan("{\"request\":{\"cap\":{\"max_tokens\":1.5}}}"),
        "2:33: \"request.cap.max_tokens\" of plan \"p\": expected a whole number of tokens of at least 1");
    EXPECT_EQ(bad_plan("{\"request\":{\"drop\":[\"a\"],\"set\":{\"a.b\":1}}}"),
              "2:39: \"request.set.a.b\" of plan \"p\": \"a\" and \"a.b\" cannot both have rules, since one "
              "is within the other");
    EXPECT_EQ(bad_plan("{\"request\":{\"deny\":[]}}").substr(0, 60),
              "2:13: \"request\" of plan \"p\": unknown field \"deny\", expected ");
}

TEST(key_file, requests_of_a_key_and_its_plan)
{
    const key_file file = good(R"({"plans":{"p":{"request":{"cap":{"n":2,"t":0.7}}}},"keys":[
      {"name":"a","key":"1","plan":"p"},
      {"name":"b","key":"2","plan":"p","request":{"set":{"x":[0.1,{"y":null}]},"allow":["n"]}}]})");
    const auto rules = [&](size_t key) {
        std::string_view text = file.policies[file.keys[key].policy].request;
        std::string all;
        policy_rule rule;
        while (take_rule(text, rule)) {
            all += std::string(policy_actions[static_cast<size_t>(rule.action)]) + std::to_string(rule.list)
                   + ' ' + std::string(rule.field) + ' ' + std::string(rule.value) + ';';
        }
        return all;
    };
    EXPECT_EQ(rules(0), "cap1 n 2;cap1 t 0.7;");
    EXPECT_EQ(rules(1), "allow0 n ;set0 x [0.1,{\"y\":null}];cap1 n 2;cap1 t 0.7;");
}

class temporary_file {
public:
    explicit temporary_file(std::string_view text)
    {
        const int fd = mkstemp(path);
        EXPECT_GE(fd, 0);
        EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
        close(fd);
    }
    ~temporary_file() { unlink(path); }
    char path[32] = "/tmp/llm_key_file_test_XXXXXX";
};

TEST(key_file, loads_files)
{
    key_file file;
    const temporary_file right(with_keys(R"({"name":"a","key":"k"})"));
    ASSERT_FALSE(load_key_file(right.path, file));
    EXPECT_EQ(file.path, right.path);
    EXPECT_EQ(file.keys.size(), 1u);

    const temporary_file wrong("{\n");
    auto error = load_key_file(wrong.path, file);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->line, 2u);
    EXPECT_EQ(file.path, right.path);
    EXPECT_EQ(file.keys.size(), 1u);

    error = load_key_file("/tmp/llm_key_file_test_not_there", file);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->line, 0u);
    EXPECT_EQ(error->text, "cannot open: No such file or directory");
    error = load_key_file("/tmp", file);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->text, "not a regular file");

    unlink(wrong.path);
    ASSERT_EQ(mkfifo(wrong.path, 0600), 0);
    error = load_key_file(wrong.path, file);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->text, "not a regular file");
}

TEST(key_file, tells_what_the_text_was_read_from)
{
    key_file file;
    const temporary_file text(with_keys(R"({"name":"a","key":"k"})"));
    ASSERT_FALSE(load_key_file(text.path, file));
    EXPECT_EQ(file.stamp, stamp_of(text.path));
    EXPECT_EQ(file.stamp.error, 0);
    EXPECT_GT(file.read_ms, 1'600'000'000'000);
    EXPECT_EQ(stamp_of("/tmp/llm_key_file_test_not_there").error, ENOENT);
}

TEST(key_file, warns_of_what_can_be_read_or_guessed)
{
    const std::string digest(64, 'a');
    const temporary_file text("{\"keys\": [ { \"name\": \"a\", \"sha256\": \"" + digest
                              + "\" },\n  { \"name\": \"b\", \"key\": \"0123456789abcdef\" },\n"
                                "  { \"name\": \"c\", \"key\": \"0123456789abcde\" },\n"
                                "  { \"name\": \"d\", \"key\": \"0\" } ] }");
    key_file file;
    chmod(text.path, 0640);
    ASSERT_FALSE(load_key_file(text.path, file));
    std::vector<file_error> warnings = warnings_of(file);
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_EQ(warnings[0].line, 3u);
    EXPECT_EQ(warnings[0].column, 3u);
    EXPECT_EQ(warnings[0].text, "2 plain keys of fewer than 16 characters, which can be guessed");

    chmod(text.path, 0644);
    ASSERT_FALSE(load_key_file(text.path, file));
    warnings = warnings_of(file);
    ASSERT_EQ(warnings.size(), 2u);
    EXPECT_EQ(warnings[0].line, 0u);
    EXPECT_EQ(warnings[0].text.find("every user of this machine may read it, and it has 3 plain keys"), 0u);

    // Others may well see digests.
    const temporary_file digests(with_keys("{\"name\":\"a\",\"sha256\":\"" + digest + "\"}"));
    chmod(digests.path, 0644);
    ASSERT_FALSE(load_key_file(digests.path, file));
    EXPECT_TRUE(warnings_of(file).empty());
}

// Would take hours if anything were quadratic.
TEST(key_file, many_keys)
{
    std::string keys;
    for (int i = 0; i < 100000; i++) {
        keys += (i ? ",\n" : "") + std::string("{\"user\":\"u") + std::to_string(i) + "\",\"key\":\"sk-"
                + std::to_string(i) + "\",\"quota\":" + std::to_string(i + 1) + "}";
    }
    const auto start = std::chrono::steady_clock::now();
    const key_file file = good(with_keys(keys));
    EXPECT_EQ(file.keys.size(), 100000u);
    EXPECT_EQ(file.policies.size(), 100001u);
    EXPECT_EQ(file.policies[file.keys[99999].policy].limit.quota, 100000u);
    EXPECT_EQ(bad(with_keys(keys + ",\n{\"user\":\"u77\",\"key\":\"x\"}")).substr(0, 10), "100001:9: ");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

} // namespace
} // namespace llm
