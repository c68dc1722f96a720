// What a request will likely use, or has used where the upstream does not say so, from what requests of the
// same key to the same model, or to the model at all, have used lately.
//
// The figures lie in the shared zone in an array in which two may fall on one place: the later one then wins.
// They are no accounts. Nothing here needs the zone's lock: each figure is one word.
#pragma once

#include "api.h"
#include "limits.h"
#include "siphash.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

struct token_estimate {
    uint64_t prompt;
    uint64_t completion; // of all choices
};

inline uint64_t weighted(const token_estimate& tokens, const usage_weights& weights)
{
    return (tokens.prompt * weights.prompt + tokens.completion * weights.completion + 999) / 1000;
}

// What of a request the estimate is made from.
struct request_size {
    uint64_t prompt_bytes = 0;
    uint32_t max_tokens = 0; // of the completion of one choice, as the request says; 0 = it does not
    uint32_t choices = 1;
};

class learned_figures {
public:
    static constexpr uint64_t default_bytes_per_token = 4;
    static constexpr uint64_t default_completion = 256;
    static constexpr uint64_t max_completion = 1 << 20; // of one choice: no model says more
    static constexpr uint64_t max_prompt = 1 << 20;     // images in base64 are long, and are no text

    static size_t bytes(uint32_t capacity) { return size_t{capacity} * sizeof(std::atomic<uint64_t>); }
    // `memory` is zeroed, 64-byte aligned and bytes(capacity) long; the capacity is a power of two.
    void format(void* memory, uint32_t capacity, const hash_key& key);

    // `key` is the key's name. A model that this key has not used is taken for as others have found it.
    token_estimate estimate(std::string_view key, std::string_view model, const request_size& size) const;
    // What the upstream said that a whole reply used. A prompt of 0 tokens teaches nothing of prompts; a
    // completion of 0, beside a prompt, is that of embeddings.
    void learn(std::string_view key, std::string_view model, const request_size& size, uint64_t prompt_tokens,
               uint64_t completion_tokens);
    // The same for the model alone, which is cheaper.
    void learn(std::string_view model, const request_size& size, uint64_t prompt_tokens,
               uint64_t completion_tokens);

    // How many tokens of completion so many bytes of a stream hold, as sent: 0 only if there are none.
    uint64_t tokens_of_stream(std::string_view model, api as, uint64_t bytes) const;
    // A stream whose content was this long had so many.
    void learn_stream(std::string_view model, api as, uint64_t bytes, uint64_t tokens);

private:
    struct figure;

    struct place {
        size_t index;
        uint64_t tag;
    };
    place place_of(std::string_view key, std::string_view model) const;
    place place_of(std::string_view model) const;
    place stream_place(std::string_view model, api as) const;
    figure read(const place& at) const;
    uint64_t stream_ratio(const place& at) const;
    void learn_at(const place& at, uint64_t ratio, uint64_t completion);

    std::atomic<uint64_t>* figures_;
    uint32_t mask_;
    hash_key key_;
    hash_key models_key_; // of figures of no key
};

} // namespace llm
