#include "core/base/utf8.h"
#include "core/base/utf8_check.h"

#include "pieces.h"

#include <gtest/gtest.h>

#include <random>

using namespace llm;

namespace {

// As the characters say one by one; where one is cut by the end, up to the first byte that none may go on
// with.
size_t reference(std::string_view text)
{
    size_t at = 0;
    while (at < text.size()) {
        const std::string_view rest = text.substr(at);
        if (const size_t n = utf8_length(rest)) {
            at += n;
            continue;
        }
        // The longest beginning of a character that something may complete.
        for (size_t n = std::min<size_t>(rest.size(), 3); n != 0; --n)
            for (const char* next : {"\x80", "\x90", "\xa0"})
                for (const char* more : {"", "\x80", "\x80\x80"})
                    if (utf8_length(std::string(rest.substr(0, n)) + next + more) > n)
                        return at + n;
        return at;
    }
    return at;
}

size_t checked(const utf8_check::way& way, const std::vector<std::string_view>& pieces)
{
    utf8_check check;
    size_t all = 0;
    for (const std::string_view piece : pieces) {
        // Memory of its own, so that a read beyond it is found.
        const std::vector<char> own(piece.begin(), piece.end());
        const size_t good = check.feed({own.data(), own.size()}, way);
        all += good;
        if (good != piece.size())
            break;
    }
    return all;
}

void expect_reference(std::string_view text)
{
    const size_t good = reference(text);
    for (const utf8_check::way& way : utf8_check::ways())
        every_way(text, [&](const auto& pieces) {
            ASSERT_EQ(checked(way, pieces), good) << way.name << " first piece " << pieces[0].size();
        });
}

// All that two bytes can be, with others behind them.
TEST(utf8_check, knows_every_character)
{
    const std::string before = std::string(60, 'a') + "\xc3\xa4";
    const std::string after(70, 'b');
    for (uint32_t pair = 0; pair < 0x10000; ++pair)
        for (const char* more : {"A", "\x80\x80", "\xbf\x41"}) {
            const char bytes[] = {char(pair >> 8), char(pair)};
            const std::string text = before + std::string(bytes, 2) + more + after;
            const size_t good = reference(text);
            for (const utf8_check::way& way : utf8_check::ways())
                ASSERT_EQ(checked(way, {text}), good) << way.name << " " << pair;
        }
}

TEST(utf8_check, does_not_care_for_pieces)
{
    for (size_t shift = 0; shift < 66; ++shift) {
        const std::string gap(shift, 'x');
        for (const char* good : {"ä", "€", "😀", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xe0\xa0\x80"})
            for (const char* bad :
                 {"", "\x80", "\xc3", "\xc3(", "\xe2\x82", "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\xaf",
                  "\xe0\x80\xaf", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"})
                expect_reference(gap + good + bad + (bad[0] != '\0' && shift % 2 ? "tail tail" : ""));
    }
}

TEST(utf8_check, is_the_reference_on_random_text)
{
    std::mt19937 random(1);
    const char* const parts[] = {"a", "some text ", "ä", "你好", "😀", "\x7f", "é"};
    for (int round = 0; round < 3000; ++round) {
        std::string text;
        while (text.size() < 300)
            text += round % 3 == 0 ? parts[3] : parts[random() % std::size(parts)];
        if (round % 4 != 0)
            text[random() % text.size()] = char(random());
        if (round % 5 == 0)
            text.erase(random() % text.size(), 1);
        const size_t good = reference(text);
        const size_t cut = random() % text.size();
        for (const utf8_check::way& way : utf8_check::ways()) {
            ASSERT_EQ(checked(way, {text}), good) << way.name;
            ASSERT_EQ(
                checked(way, {std::string_view(text).substr(0, cut), std::string_view(text).substr(cut)}),
                good)
                << way.name << " " << cut;
        }
    }
}

} // namespace

TEST(utf8_check, a_text_as_a_whole)
{
    for (const char* text : {"", "a", "\u00e9", "a\u20ac", "\U0001f600"}) {
        EXPECT_TRUE(is_utf8(text)) << text;
    }
    for (const char* text : {"\xc3", "a\xe2\x82", "\xff", "\xed\xa0\x80", "\xf0\x9f\x98", "\x80"}) {
        EXPECT_FALSE(is_utf8(text));
    }
}
