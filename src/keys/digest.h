// SHA-256 of API keys, and digests as text.
#pragma once

#include "core/digest.h"

#include <memory>
#include <string>
#include <string_view>

struct evp_md_st;
struct evp_md_ctx_st;

namespace llm {

// Hashes keys. The algorithm and its working memory are fetched once, when the object is made: a hash()
// neither looks anything up nor allocates, so it may run on the request path. (OpenSSL 3.0 allocates 112
// bytes in each initialisation of its own accord; 3.1 and later do not.) Not for two threads at once.
// Survives a fork. May be moved; of the object moved from only ok(), hash() (which fails), assignment and
// destruction make sense.
class hasher {
public:
    hasher();

    // False if OpenSSL gave no SHA-256 (a crippled or misconfigured library); hash() then always fails.
    bool ok() const { return md && context; }

    // The SHA-256 of `text`. On failure (false) `out` is all zero.
    bool hash(std::string_view text, digest& out);

private:
    struct md_free {
        void operator()(evp_md_st* md) const;
    };
    struct context_free {
        void operator()(evp_md_ctx_st* context) const;
    };
    std::unique_ptr<evp_md_st, md_free> md;
    std::unique_ptr<evp_md_ctx_st, context_free> context;
};

// 64 hex digits of either case. On failure (false) `out` is unchanged.
bool parse_hex(std::string_view text, digest& out);

// 64 hex digits of lower case.
std::string to_hex(const digest& value);

} // namespace llm
