#include "sha256.h"

#include "core/base/chars.h"

#include <bit>
#include <cstring>

// EVP, which OpenSSL 3 prefers, goes through a provider that allocates and frees a state for each digest,
// also with an algorithm and a context that are kept: more than twice the time for a text as short as a key.
// These functions are marked as deprecated and are the same code without that.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace llm {

static void put_big_endian(uint8_t* at, uint32_t value)
{
    static_assert(std::endian::native == std::endian::little);
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

// A text that fits with its padding into one block, as keys do: half of the work around that block is saved.
static bool sha256_of_short(std::string_view text, digest& out)
{
    uint8_t block[SHA256_CBLOCK] = {};
    text.copy(reinterpret_cast<char*>(block), text.size());
    block[text.size()] = 0x80;
    put_big_endian(block + sizeof block - 4, static_cast<uint32_t>(text.size() * 8));

    SHA256_CTX context;
    const bool done = SHA256_Init(&context) == 1;
    if (done) {
        SHA256_Transform(&context, block);
        for (size_t i = 0; i < out.size() / 4; i++) {
            put_big_endian(&out[4 * i], context.h[i]);
        }
    }
    explicit_bzero(block, sizeof block);
    return done;
}

static bool sha256_of_long(std::string_view text, digest& out)
{
    SHA256_CTX context;
    const bool done = SHA256_Init(&context) == 1 && SHA256_Update(&context, text.data(), text.size()) == 1
                      && SHA256_Final(out.data(), &context) == 1;
    // It holds the key's last bytes.
    OPENSSL_cleanse(&context, sizeof context);
    return done;
}

bool sha256(std::string_view text, digest& out)
{
    constexpr size_t padding = 9; // at least
    const bool done =
        text.size() <= SHA256_CBLOCK - padding ? sha256_of_short(text, out) : sha256_of_long(text, out);
    if (!done) {
        out.fill(0);
    }
    return done;
}

// The value of each hex digit, -1 for other bytes. A table, because digits are random: branches on them would
// be mispredicted, and files have millions of them.
static constexpr auto hex_values = [] {
    std::array<int8_t, 256> values{};
    for (size_t i = 0; i < values.size(); i++) {
        values[i] = static_cast<int8_t>(hex_value(static_cast<char>(i)));
    }
    return values;
}();

bool parse_hex(std::string_view text, digest& out)
{
    digest result;
    if (text.size() != 2 * result.size()) {
        return false;
    }
    for (size_t i = 0; i < result.size(); i++) {
        const int high = hex_values[static_cast<uint8_t>(text[2 * i])];
        const int low = hex_values[static_cast<uint8_t>(text[2 * i + 1])];
        if ((high | low) < 0) {
            return false;
        }
        result[i] = static_cast<uint8_t>(high << 4 | low);
    }
    out = result;
    return true;
}

std::string to_hex(const digest& value)
{
    std::string text(2 * value.size(), '\0');
    char* end = text.data();
    for (const uint8_t byte : value) {
        end = put_hex(end, byte);
    }
    return text;
}

} // namespace llm
