#include "keys/digest.h"

#include <gtest/gtest.h>
#include <string>

namespace llm {
namespace {

TEST(digest, known_values)
{
    digest value;
    ASSERT_TRUE(sha256("", value));
    EXPECT_EQ(to_hex(value), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    ASSERT_TRUE(sha256("abc", value));
    EXPECT_EQ(to_hex(value), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ASSERT_TRUE(sha256(std::string(1000000, 'a'), value));
    EXPECT_EQ(to_hex(value), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(digest, hex)
{
    const std::string lower = "00ff10abcdef0123456789abcdef0123456789abcdef0123456789abcdef9a5c";
    std::string upper = lower;
    for (char& c : upper) {
        c = static_cast<char>(toupper(c));
    }
    digest a, b;
    ASSERT_TRUE(parse_hex(lower, a));
    ASSERT_TRUE(parse_hex(upper, b));
    EXPECT_EQ(a, b);
    EXPECT_EQ(a[0], 0);
    EXPECT_EQ(a[1], 0xff);
    EXPECT_EQ(to_hex(a), lower);

    const digest before = a;
    EXPECT_FALSE(parse_hex("", a));
    EXPECT_FALSE(parse_hex(lower.substr(1), a));
    EXPECT_FALSE(parse_hex(lower + "0", a));
    // Every byte that is no hex digit is refused at every place.
    for (size_t i = 0; i < lower.size(); i++) {
        for (int c = 0; c < 256; c++) {
            std::string text = lower;
            text[i] = static_cast<char>(c);
            digest value;
            EXPECT_EQ(parse_hex(text, value), isxdigit(c) != 0) << i << ' ' << c;
        }
    }
    EXPECT_EQ(a, before);
}

} // namespace
} // namespace llm
