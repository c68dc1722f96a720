// How the usages that stand in one reply make its sum. Usage in a stream is cumulative: chunk is never added
// to chunk. The rule is that of the servers: usage of an event about one choice is that choice's so far; of
// an event with empty `choices` it is a last word, of which llama.cpp sends one per choice and TensorRT-LLM
// one per prompt, and where there are more than the request asks for choices, the last holds; of an event
// without `choices` it is the whole reply's so far. A prompt once told is kept: servers may send 0 for it
// later.
#pragma once

#include "core/base/token_counts.h"
#include "usage_counts.h"

#include <cstddef>
#include <cstdint>

namespace llm {

// All zero bytes are a valid initial state.
class usage_sum {
public:
    // Choices of one request whose counts are kept apart. Those from this index on share one place: their
    // largest counts.
    static constexpr size_t max_choices = 16;

    // Of one choice so far. Of cached and reasoning tokens the largest is kept, not each choice's.
    void of_choice(uint32_t choice, const usage_counts& counts);
    // One of the upstream's last words, of which there can be `most`: one above that replaces all before it.
    // Each is at most usage_counts::max_count, and so is their sum.
    void last_word(const usage_counts& counts, uint32_t most = UINT32_MAX);
    // Takes back all last words.
    void forget_last_words();
    // Of the whole reply so far; what it does not say stays as it was. `is_last`: no more follows.
    void of_whole(const usage_fields& fields, bool is_last);

    bool known() const { return last_words_ != 0 || choices_ != 0 || has_whole_; }
    bool has_last_word() const { return last_words_ != 0 || whole_is_last_; }
    // `prompts`: with more than one, the prompt counts of several last words are added.
    token_counts counts(uint32_t prompts) const;

private:
    struct choice_counts {
        uint32_t prompt;
        uint32_t completion;
    };

    token_counts so_far(uint32_t prompts) const;
    token_counts of_choices(uint32_t prompts) const;

    uint32_t last_words_ = 0;
    uint32_t told_prompt_ = 0; // the last that was not 0
    uint32_t choices_ = 0;     // the highest index of a choice with usage, and 1
    bool has_whole_ = false;
    bool whole_is_last_ = false;
    usage_fields whole_;
    usage_counts last_sum_;
    usage_counts last_most_;
    usage_counts choice_most_;
    choice_counts choice_[max_choices + 1] = {};
};

} // namespace llm
