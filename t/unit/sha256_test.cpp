#include "keys/sha256.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <string>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

// OpenSSL's own, unless a test wants them to fail: the executable's functions are found first.
static bool init_fails = false;
static bool final_fails = false;

extern "C" int SHA256_Init(SHA256_CTX* context)
{
    static const auto real = reinterpret_cast<decltype(&SHA256_Init)>(dlsym(RTLD_NEXT, "SHA256_Init"));
    return init_fails ? 0 : real(context);
}

extern "C" int SHA256_Final(unsigned char* out, SHA256_CTX* context)
{
    static const auto real = reinterpret_cast<decltype(&SHA256_Final)>(dlsym(RTLD_NEXT, "SHA256_Final"));
    const int done = real(out, context);
    return final_fails ? 0 : done;
}

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

// Around the lengths at which the padding needs another block.
TEST(digest, lengths)
{
    static constexpr struct {
        size_t length;
        const char* hex;
    } known[] = {
        {1, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
        {51, "bfc5fe0e360152ca98c50fab4ed7e3078c17debc2917740d5000913b686ca129"},
        {54, "a3f01b6939256127582ac8ae9fb47a382a244680806a3f613a118851c1ca1d47"},
        {55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
        {119, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"},
        {120, "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c"},
    };
    for (const auto& [length, hex] : known) {
        digest value;
        ASSERT_TRUE(sha256(std::string(length, 'a'), value));
        EXPECT_EQ(to_hex(value), hex) << length;
    }
}

TEST(digest, is_zero_where_openssl_fails)
{
    for (const size_t length : {0, 10, 55, 56, 1000}) {
        const std::string text(length, 'a');
        for (bool* fails : {&init_fails, &final_fails}) {
            if (fails == &final_fails && length < 56) {
                continue; // a short text has its own ending
            }
            digest value;
            value.fill(0x5a);
            *fails = true;
            const bool done = sha256(text, value);
            *fails = false;
            EXPECT_FALSE(done) << length;
            EXPECT_EQ(value, digest{}) << length;
        }
    }
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
