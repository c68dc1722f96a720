#include "bench_key.h"

#include <openssl/sha.h>

namespace bench {

int write_key_file(std::uint64_t count)
{
    std::puts("{\"keys\": [");
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::string key = bench_key(i);
        unsigned char digest[SHA256_DIGEST_LENGTH];
        ::SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest);
        char hex[2 * sizeof digest + 1];
        for (std::size_t b = 0; b < sizeof digest; ++b) {
            std::snprintf(hex + 2 * b, 3, "%02x", digest[b]);
        }
        const auto number = static_cast<unsigned long long>(i);
        std::printf("{\"name\":\"k%08llu\",\"user\":\"u%04llu\",\"sha256\":\"%s\"}%s\n", number,
                    number % 1000, hex, i + 1 < count ? "," : "");
    }
    std::puts("]}");
    return std::fflush(stdout) == 0 ? 0 : 1;
}

int write_key_names(std::uint64_t count)
{
    for (std::uint64_t i = 0; i < count; ++i) {
        std::printf("%s u%04llu\n", bench_key(i).c_str(), static_cast<unsigned long long>(i % 1000));
    }
    return std::fflush(stdout) == 0 ? 0 : 1;
}

} // namespace bench
