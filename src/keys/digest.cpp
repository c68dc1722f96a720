#include "digest.h"

#include <openssl/evp.h>

namespace llm {

void hasher::md_free::operator()(evp_md_st* md) const
{
    EVP_MD_free(md);
}

void hasher::context_free::operator()(evp_md_ctx_st* context) const
{
    EVP_MD_CTX_free(context);
}

hasher::hasher() : md(EVP_MD_fetch(nullptr, "SHA2-256", nullptr)), context(EVP_MD_CTX_new())
{
    // The first initialisation allocates the algorithm's state; later ones use it again.
    if (ok() && EVP_DigestInit_ex2(context.get(), md.get(), nullptr) != 1) {
        md.reset();
    }
}

bool hasher::hash(std::string_view text, digest& out)
{
    out.fill(0);
    digest result;
    unsigned size = 0;
    if (!ok() || EVP_DigestInit_ex2(context.get(), md.get(), nullptr) != 1
        || EVP_DigestUpdate(context.get(), text.data(), text.size()) != 1
        || EVP_DigestFinal_ex(context.get(), result.data(), &size) != 1 || size != result.size()) {
        return false;
    }
    out = result;
    return true;
}

// The value of each hex digit, -1 for other bytes. A table, because digits are random: branches on them would
// be mispredicted, and files have millions of them.
static constexpr auto hex_values = [] {
    std::array<int8_t, 256> values{};
    values.fill(-1);
    for (int8_t i = 0; i < 10; i++) {
        values['0' + i] = i;
    }
    for (int8_t i = 0; i < 6; i++) {
        values['a' + i] = values['A' + i] = static_cast<int8_t>(10 + i);
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
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * value.size());
    for (const uint8_t byte : value) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

} // namespace llm
