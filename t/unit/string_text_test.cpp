#include "core/base/utf8.h"
#include "core/json/string_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

using namespace llm;

namespace {

// Byte by byte.
size_t reference(std::string_view text, uint64_t& surplus)
{
    size_t at = 0;
    while (at < text.size()) {
        const auto c = static_cast<unsigned char>(text[at]);
        if (c == '"' || c < 0x20)
            return at;
        if (c != '\\') {
            ++at;
            continue;
        }
        const char kind = at + 1 < text.size() ? text[at + 1] : '\0';
        if (kind == 'u') {
            const std::string hex(text.substr(at + 2, 4));
            if (hex.size() != 4 || hex.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
                return at;
            surplus += 6 - utf8_size_of_escape(static_cast<uint32_t>(std::stoul(hex, nullptr, 16)));
            at += 6;
        } else if (kind != '\0' && std::string_view("\"\\/bfnrt").find(kind) != std::string_view::npos) {
            ++surplus;
            at += 2;
        } else {
            return at;
        }
    }
    return at;
}

void expect_reference(const std::string& text)
{
    uint64_t surplus = 0;
    const size_t at = reference(text, surplus);
    // Memory of its own, so that a read beyond it is found.
    const std::vector<char> own(text.begin(), text.end());
    for (const string_text_way& way : string_text_ways()) {
        uint64_t more = 7;
        const char* const stop = way.past(own.data(), own.data() + own.size(), more);
        ASSERT_EQ(static_cast<size_t>(stop - own.data()), at) << way.name << ": " << text;
        ASSERT_EQ(more, surplus + 7) << way.name << ": " << text;
    }
}

TEST(string_text, finds_what_ends_it_at_any_place)
{
    for (size_t shift = 0; shift < 140; ++shift) {
        const std::string gap(shift, 'x');
        for (const char* what :
             {"\"", "\\\"\"", "\\\\\"", "\\n\n", "\\u00e4\"", "\\uD83d\\ude00\"", "\\x", "\\u12g4", "\\",
              "\\u", "\\u12", "\x1f", "\x01", "\\\\\\\\\\", "\\\\\\\"\\\\\\\"\"", "é\"", "\x7f\xff\""})
            for (const size_t after : {0, 1, 5, 70}) {
                expect_reference(gap + what + std::string(after, 'y'));
                expect_reference(gap + what + what + gap + what + std::string(after, 'y'));
            }
        expect_reference(gap + std::string(1, '\0') + gap);
    }
}

TEST(string_text, is_the_reference_on_random_text)
{
    std::mt19937 random(1);
    const char* const parts[] = {
        "a", "plain text, some more of it ", "\\n", "\\\"", "\\\\", "\\u20ac", "\\/", "ä", "\\ud800"};
    for (int round = 0; round < 20000; ++round) {
        std::string text;
        const size_t size = random() % 300;
        while (text.size() < size)
            text += parts[random() % std::size(parts)];
        if (round % 3 != 0 && !text.empty())
            text[random() % text.size()] = "\"\\u\n\x7fx"[random() % 6];
        expect_reference(text);
    }
}

} // namespace
