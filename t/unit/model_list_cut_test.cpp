// A list of models that an upstream answers with has to be the same without those that a key may not use,
// byte by byte, in whatever pieces it comes.
#include "core/reply/model_list_cut.h"

#include "pieces.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

using namespace llm;

namespace {

// The bytes that go on, as the caller of model_list_cut lets them. Names that begin with "ok" are allowed.
class client {
public:
    bool feed(std::string_view piece)
    {
        all_ += piece;
        const bool good = cut_.feed(piece, {erase, this});
        if (good) {
            pass(cut_.settled());
        }
        held_ = std::max(held_, all_.size() - passed_);
        return good;
    }
    bool whole() const { return cut_.finish(); }
    const std::string& out() const { return out_; }
    size_t held() const { return held_; }

private:
    static bool allows(void*, std::string_view name) { return name.starts_with("ok"); }
    static void erase(void* self, uint64_t begin, uint64_t end)
    {
        auto& c = *static_cast<client*>(self);
        ASSERT_LE(c.passed_, begin);
        ASSERT_LT(begin, end);
        ASSERT_LE(end, c.all_.size());
        c.pass(begin);
        c.passed_ = end;
    }
    void pass(uint64_t end)
    {
        out_ += all_.substr(passed_, end - passed_);
        passed_ = end;
    }

    model_list_cut cut_{{allows, nullptr}};
    std::string all_;
    std::string out_;
    uint64_t passed_ = 0;
    size_t held_ = 0;
};

void expect(const std::string& list, const std::string& want)
{
    every_way(list, [&](const std::vector<std::string_view>& pieces) {
        client c;
        for (const std::string_view piece : pieces)
            ASSERT_TRUE(c.feed(piece)) << list;
        ASSERT_TRUE(c.whole()) << list;
        ASSERT_EQ(c.out(), want);
    });
}

std::string in_list(const std::string& elements)
{
    return R"({"object":"list","data":[)" + elements + R"(],"has_more":false})";
}

const std::string one = R"({"id":"ok-1","x":[{"id":"no"}]})";
const std::string two = R"({"x":{"id":"no","name":"no"},"id":"ok-2"})";
const std::string no = R"({"id":"no-1","root":"ok","x":"]}"})";
const std::string other = R"({"x":1,"id":"no-2"})";

TEST(model_list_cut, elements_go_with_a_comma)
{
    expect(in_list(""), in_list(""));
    expect(in_list(one), in_list(one));
    expect(in_list(no), in_list(""));
    expect(in_list(no + "," + other), in_list(""));
    expect(in_list(one + "," + no), in_list(one));
    expect(in_list(no + "," + one), in_list(one));
    expect(in_list(no + "," + other + "," + one), in_list(one));
    expect(in_list(one + "," + no + "," + two), in_list(one + "," + two));
    expect(in_list(no + "," + one + "," + other + "," + two + "," + no), in_list(one + "," + two));
}

TEST(model_list_cut, what_stands_between_them_stays_with_them)
{
    expect(in_list("\n  " + no + ",\n  " + one + " ,\n  " + two + "\n"),
           in_list("\n  " + one + " ,\n  " + two + "\n"));
    expect(in_list("\n  " + one + " , " + no + " ,\n  " + two + "\n"),
           in_list("\n  " + one + "  ,\n  " + two + "\n"));
    expect(in_list("\n" + no + " , " + other + "\n"), in_list("\n\n"));
}

TEST(model_list_cut, names)
{
    // Ollama's, Gemini's, and llama.cpp's, which has two lists.
    expect(
        R"({"models":[{"name":"ok","model":"ok"},{"name":"ok","model":"no"},{"model":"no","name":"ok"},{"name":"ok"}]})",
        R"({"models":[{"name":"ok","model":"ok"},{"name":"ok"}]})");
    expect(R"({"models":[{"name":"models/ok"},{"name":"models/no","displayName":"ok"}],"nextPageToken":"x"})",
           R"({"models":[{"name":"models/ok"}],"nextPageToken":"x"})");
    expect(R"({"models":[{"name":"no"},{"name":"ok"}],"object":"list","data":[{"id":"ok"},{"id":"no"}]})",
           R"({"models":[{"name":"ok"}],"object":"list","data":[{"id":"ok"}]})");
    // OpenRouter's name is for people.
    expect(in_list(R"({"name":"OK: one","id":"ok/1"},{"id":"no/1","name":"ok"})"),
           in_list(R"({"name":"OK: one","id":"ok/1"})"));
    // An array alone, and names alone.
    expect(R"( [{"id":"no"} ,{"id":"ok"}] )", R"( [{"id":"ok"}] )");
    expect(R"({"data":["ok","no","ok2",7,null,["ok"],"ok3"]})", R"({"data":["ok","ok2","ok3"]})");
    // Escapes, names that are long, and none.
    expect(in_list(R"({"i\u0064":"\u006fk"},{"id":"n\u006f"})"), in_list(R"({"i\u0064":"\u006fk"})"));
    const std::string longest = "ok" + std::string(254, 'x');
    expect(in_list(R"({"id":")" + longest + R"("},{"id":")" + longest + R"(x"},{"id":"ok"})"),
           in_list(R"({"id":")" + longest + R"("},{"id":"ok"})"));
    expect(
        in_list(
            R"({},{"id":7},{"id":null},{"id":["ok"]},{"id":{"id":"ok"}},{"id":"ok","id":"no"},{"id":"no","id":"ok"},{"ID":"ok"})"),
        in_list(""));
}

TEST(model_list_cut, other_texts_stay)
{
    for (const char* text : {R"({"id":"no"})", R"({"data":{"id":"no"},"models":"no","x":[{"id":"no"}]})",
                             "\"no\"", "7 ", "null", R"({"x":{"data":[{"id":"no"}]}})"})
        expect(text, text);
}

TEST(model_list_cut, what_is_no_json)
{
    const std::string broken[] = {"data: {}", "<html>", R"({"data":[})", R"({"data":[{"id":"ok"},]})",
                                  "{} {}"};
    for (const std::string& text : broken) {
        every_way(text, [&](const std::vector<std::string_view>& pieces) {
            client c;
            EXPECT_FALSE(std::all_of(pieces.begin(), pieces.end(), [&](std::string_view p) {
                return c.feed(p);
            })) << text;
        });
    }
    const std::string without_end[] = {"", "{", R"({"data":[{"id":"ok"})"};
    for (const std::string& text : without_end) {
        client c;
        EXPECT_TRUE(c.feed(text));
        EXPECT_FALSE(c.whole()) << text;
    }
}

TEST(model_list_cut, holds_an_element_at_most)
{
    std::string list;
    for (int i = 0; i < 1000; ++i)
        list += (i ? "," : "") + std::string(R"({"x":"0123456789","id":")") + (i % 3 ? "ok" : "no") + R"("})";
    client c;
    const std::string all = in_list(list);
    for (const char& byte : all)
        ASSERT_TRUE(c.feed({&byte, 1}));
    EXPECT_LE(c.held(), 40u);
}

TEST(model_list_cut, any_list_is_what_is_allowed_of_it)
{
    std::mt19937 random(1);
    const auto below = [&](unsigned n) { return random() % n; };
    const auto blank = [&] { return std::string(below(3) ? 0 : below(4), below(2) ? ' ' : '\n'); };
    for (int round = 0; round < 500; ++round) {
        std::string list, names, want_names;
        const unsigned n = below(6);
        for (unsigned i = 0; i < n; ++i) {
            const bool ok = below(2);
            const std::string name = (ok ? "ok" : "no") + std::to_string(i);
            const std::string members[] = {"\"id\":" + blank() + "\"" + name + "\"", "\"x\":{\"id\":\"no\"}",
                                           "\"name\":\"ok\""};
            const unsigned first = 2 * below(2);
            list += blank() + "{" + members[first] + "," + members[(first + 1) % 3] + blank() + "}" + blank()
                    + (i + 1 < n ? "," : "");
            want_names += ok ? "[" + name + "]" : "";
        }
        client c;
        std::string_view rest;
        const std::string all = in_list(list);
        for (rest = all; !rest.empty();) {
            const size_t size = std::min<size_t>(1 + below(30), rest.size());
            ASSERT_TRUE(c.feed(rest.substr(0, size)));
            rest.remove_prefix(size);
        }
        ASSERT_TRUE(c.whole());
        // What is left is the list of the names that are allowed, and nothing is left to take out.
        client again;
        ASSERT_TRUE(again.feed(c.out()));
        ASSERT_TRUE(again.whole()) << c.out();
        EXPECT_EQ(again.out(), c.out());
        for (size_t at = c.out().find("\"id\":"); at != std::string::npos;
             at = c.out().find("\"id\":", at + 1)) {
            const size_t begin = c.out().find_first_of("\"{", at + 5) + 1;
            const std::string name = c.out().substr(begin, c.out().find('"', begin) - begin);
            names += name != "no" ? "[" + name + "]" : "";
        }
        EXPECT_EQ(names, want_names) << all;
    }
}

} // namespace
