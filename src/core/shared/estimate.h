// What a request will likely use, or has used where the upstream does not say so.
//
// What is *charged* comes from what the request itself has brought and shown, by figures of its own key or by
// the defaults: nothing that another key sends moves it. What is *reserved* may use what others have taught
// of the model, within a factor of two of the defaults. Every figure of bytes a token lies in that range too:
// tokenizers do, and so no lesson makes a key cheap or dear.
//
// The figures lie in the shared zone in an array in which several may fall on one place: the later one then
// wins. They are no accounts. Nothing here needs the zone's lock: each word is whole by itself.
#pragma once

#include "core/base/siphash.h"
#include "core/base/text_size.h"
#include "core/limit/limits.h"

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
    static constexpr uint32_t max_choices = 1 << 20;
    // What an image, audio or file is taken for, whatever its bytes: they say little of it.
    static constexpr uint64_t media_tokens = 1000;

    uint64_t prompt_bytes = 0; // of the body, less those of media
    uint32_t max_tokens = 0;   // of the completion of one choice, as the request says; 0 = it does not
    uint32_t choices = 1;      // of all its prompts
    uint32_t media = 0;        // images, audio and files in it

    // The choices of each prompt, for `prompts` of them; bounded.
    static uint32_t choices_of(uint64_t each, uint64_t prompts)
    {
        const uint64_t all = multiply_up(each, prompts);
        return static_cast<uint32_t>(all < max_choices ? all : max_choices);
    }
};

// Of one reply that came whole: what the upstream told, and how much of it was to be seen.
struct usage_lesson {
    uint64_t prompt_tokens = 0;     // 0: teaches nothing of prompts
    uint64_t completion_tokens = 0; // 0, beside a prompt: that of embeddings
    uint64_t text_bytes = 0;        // of the completion; 0: not all of it is known to have been shown
};

// By what the tokens of a key's requests to a model are reckoned that nobody tells: bytes a token, in
// 1/`one`.
struct token_ratios {
    static constexpr uint32_t one = 4096;
    static constexpr uint32_t by_default = 4 * one; // OpenAI's rule of thumb for English
    static constexpr uint32_t least = by_default / 2;
    static constexpr uint32_t most = by_default * 2;
    // More than any model takes.
    static constexpr uint64_t max_prompt = 1 << 20;

    uint32_t prompt = by_default;
    uint32_t text = by_default;

    uint64_t prompt_tokens(const request_size& size) const;
    // Not fewer than one of two pieces: servers send a token at a time, but a gateway behind them may send
    // its letters one by one.
    uint64_t text_tokens(const text_size& text) const;
};

// What was learned of a key's requests to a model, or of a model, as it can be kept outside of a zone. 0 =
// not known.
struct learned_figures {
    uint32_t completion = 0;   // of one choice: tokens in 1/16, and 1
    uint16_t prompt_ratio = 0; // as token_ratios has it
    uint16_t text_ratio = 0;
    uint8_t prompt_weight = 0; // from how many tokens, in 16
    uint8_t text_weight = 0;

    bool operator==(const learned_figures&) const = default;
};

class token_estimator {
public:
    static constexpr uint64_t default_completion = 256; // of one choice
    static constexpr uint64_t max_completion = 1 << 20; // likewise: no model says more

    static size_t bytes(uint32_t capacity) { return size_t{capacity} * sizeof(std::atomic<uint64_t>); }
    // `memory` is zeroed, 64-byte aligned and bytes(capacity) long; the capacity is a power of two from 16
    // up.
    void format(void* memory, uint32_t capacity, const hash_key& key);

    // What is to be reserved. `key` is the key's name. What it has not taught is taken for as others have
    // found the model.
    token_estimate estimate(std::string_view key, std::string_view model, const request_size& size) const;
    // What is to be charged by: the key's own, or the defaults.
    token_ratios ratios(std::string_view key, std::string_view model) const;
    // The completion of one choice as this key's requests to the model lately had it, or the default.
    uint64_t own_completion(std::string_view key, std::string_view model) const;

    void learn(std::string_view key, std::string_view model, const request_size& size,
               const usage_lesson& lesson);

    // What is known of a key's requests to a model, and of a model by all.
    learned_figures figures(std::string_view key, std::string_view model) const
    {
        return figures_at(own_place(key, model));
    }
    learned_figures figures(std::string_view model) const { return figures_at(shared_place(model)); }
    // Puts them back where nothing has been learned since. Figures that could not have been learned are left
    // out.
    void restore(std::string_view key, std::string_view model, const learned_figures& known)
    {
        restore_at(own_place(key, model), known);
    }
    void restore(std::string_view model, const learned_figures& known)
    {
        restore_at(shared_place(model), known);
    }

private:
    struct completion_figure;
    struct ratio_figure;

    struct place {
        size_t index;
        uint64_t tag;
    };
    place own_place(std::string_view key, std::string_view model) const;
    place shared_place(std::string_view model) const;
    completion_figure completion_at(const place& at) const;
    ratio_figure ratios_at(const place& at) const;
    uint64_t word(size_t index) const { return figures_[index].load(std::memory_order_relaxed); }
    learned_figures figures_at(const place& at) const;
    void restore_at(const place& at, const learned_figures& known);
    void put_ratios(const place& at, const ratio_figure& known);
    void learn_at(const place& at, const request_size& size, const usage_lesson& lesson, bool is_own);

    std::atomic<uint64_t>* figures_;
    uint32_t half_; // of the array: what keys have of their own lies in the first half
    hash_key key_;
    hash_key models_key_; // of figures of no key
};

} // namespace llm
